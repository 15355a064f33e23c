"""Draw segmentation maps of photos with a network of the model hub, beside the photos in shards.

    python -m setup.segment_images --shards DIR --output DIR --model NAME_OR_DIR
    python -m setup.segment_images --images DIR --output MAPS --model NAME_OR_DIR

--shards writes the shards anew with a `.seg.png` for each photo: class numbers, as large as the
upright photo, with a palette to look at them by; the table of classes goes into the manifest. DIR
is a folder of shards, or one with train, val and test in it. --images writes a folder of PNGs, for
`setup.build_shards --seg MAPS`. The same command goes on where it was stopped, and what comes out
is the same, however often it was stopped. Photos that cannot be decoded are carried over without a
map and listed in unmapped_photos.csv.

Networks: SegFormer, Mask2Former and their kin, e.g. nvidia/segformer-b0-finetuned-ade-512-512; with
its files in a folder, no connection is needed.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from setup.engine import ENGINES
from setup.resumable import exit_status

if TYPE_CHECKING:
    from setup.segmenting.shards import Drawn

SPLITS = ("train", "val", "test")


def segment_images(options: argparse.Namespace) -> Iterator["Drawn"]:
    """Do what the command line says; yields what came of each folder.

    Raises:
        ValueError, OSError, WorkerLost: see `segment_shards` and `segment_folder`.
    """
    # Here and not above: torch takes a second, which --help can do without.
    from setup.segmenting.shards import ShardStep, load_segmenter, segment_shards

    if options.batch < 1:
        raise ValueError(f"--batch must be at least 1, got {options.batch}")
    model = _absolute(options.model) if Path(options.model).is_dir() else options.model
    if options.images:
        from setup.segmenting.folder import segment_folder

        network = load_segmenter(model, options.device)
        arguments = (options.images, options.output, options.batch, options.replace)
        yield segment_folder(network, *arguments)
        return
    for shards, output in _folders(options.shards, options.output):
        step = ShardStep(shards, output, model, options.device, options.batch, options.replace)
        yield segment_shards(step, options.engine, options.workers, options.ray_address)


def _folders(shards: str, output: Path) -> list[tuple[str, Path]]:
    """Each folder of shards, and where its maps go."""
    folder, output = Path(shards), output.absolute()
    if "://" in shards or (folder / "manifest.parquet").is_file():
        return [(shards if "://" in shards else _absolute(shards), output)]
    if splits := [name for name in SPLITS if (folder / name / "manifest.parquet").is_file()]:
        return [(_absolute(folder / name), output / name) for name in splits]
    raise ValueError(
        f"no shards in {folder}: neither a manifest.parquet nor train, val or test with one in it; "
        "pack photos with `python -m setup.build_shards`"
    )


def _absolute(path: str | Path) -> str:
    """For workers, which may have another working directory."""
    return str(Path(path).absolute())


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.segment_images",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--shards", metavar="DIR", help="shards, or a folder with train and val")
    source.add_argument("--images", type=Path, metavar="DIR", help="a folder of photos instead")
    add("--output", type=Path, required=True, help="folder for shards or maps; goes on if begun")
    add("--model", required=True, help="a segmentation network: name on the model hub, or folder")
    add("--batch", type=int, default=16, help="photos that go through the network at a time")
    add("--device", default="auto", help="cpu, cuda, cuda:1, or auto: the GPU where there is one")
    add("--replace", action="store_true", help="draw maps anew where there are some")
    add(
        "--workers",
        type=int,
        default=1,
        help="processes, each with its own network, for --shards; 0: one a core",
    )
    add("--engine", choices=ENGINES, default="local", help="where they run")
    add("--ray_address", default="", help="of a Ray cluster (default: RAY_ADDRESS, or a new one)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse_arguments(arguments)

    def run() -> None:
        for drawn in segment_images(options):
            print(_summary(drawn))

    return exit_status(run)


def _summary(drawn: "Drawn") -> str:
    """What came of a folder, in a few lines."""
    mapped = drawn.samples - drawn.unmapped
    lines = [f"{mapped:,} of {drawn.samples:,} photos in {drawn.output} have a map"]
    if drawn.kept:
        lines.append(f"  {drawn.kept:,} of them were there before and are kept")
    if drawn.is_unsure:
        lines.append("  nothing says what classes those have: if not this network's, --replace")
    if drawn.unmapped:
        lines.append(
            f"  {drawn.unmapped:,} could not be decoded: {drawn.output}/unmapped_photos.csv"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
