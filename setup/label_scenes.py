"""Label photos by what they show: indoor, natural or urban, and which of 16 and 365 scenes.

    python -m setup.label_scenes --shards DIR --output DIR --model NAME_OR_DIR
    python -m setup.label_scenes --images DIR --csv photos.csv --output labelled.csv \
        --model resnet50_places365.pth.tar

--shards writes the shards anew with s3, s16 and s365 in each sample's json; DIR is a folder of
shards, or one with train, val and test in it. --images writes the table with the field's columns
(S3_Label ... Prob_urban), which `setup.build_shards` reads. The same command goes on where it was
stopped. Photos without a label are listed, not lost.

The model is any classifier of the 365 scenes of Places: a name or folder of timm or of the model
hub, or a file of ResNet weights (models/scenes/checkpoints.py). The 16 and 3 are sums of the 365
(data/places365.py).
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from setup.resumable import exit_status

SPLITS = ("train", "val", "test")


def label_scenes(options: argparse.Namespace) -> Iterator[str]:
    """Do what the command line says; yields what came of it.

    Raises:
        ValueError, OSError: see `label_shards` and `label_table`.
    """
    # Here and not above: torch takes a second, which --help can do without.
    from data.places365 import Hierarchy
    from models.scenes.classifier import SceneClassifier
    from setup.labelling.scene_labels import Labeller
    from setup.labelling.shards import UNLABELLED, label_shards
    from setup.labelling.table import label_table

    if bool(options.images) != bool(options.csv):
        raise ValueError("--images and --csv belong together; for shards give --shards alone")
    folders = _folders(options.shards, options.output) if options.shards else []
    hierarchy = Hierarchy.load(options.hierarchy)
    classifier = SceneClassifier.load(options.model, options.device)
    source = {
        "model": options.model,
        "weights_sha256": classifier.fingerprint,
        "hierarchy_sha256": hashlib.sha256(hierarchy.groups.tobytes()).hexdigest(),
    }
    with Labeller(classifier, hierarchy, options.batch, options.workers) as labeller:
        for shards, output in folders:
            labelled, listed = label_shards(shards, output, labeller, source)
            yield _summary(labelled, listed, output, output / UNLABELLED)
        if options.images:
            output = options.output
            labelled, listed = label_table(options.images, options.csv, output, labeller, source)
            yield _summary(labelled, listed, output, Path(f"{output}.refused.csv"))


def _folders(shards: Path, output: Path) -> list[tuple[Path, Path]]:
    """Each folder of shards, and where its labels go."""
    if (shards / "manifest.parquet").is_file():
        return [(shards, output)]
    if splits := [name for name in SPLITS if (shards / name / "manifest.parquet").is_file()]:
        return [(shards / name, output / name) for name in splits]
    raise ValueError(
        f"no shards in {shards}: neither a manifest.parquet nor train, val or test with one in it; "
        "pack photos with `python -m setup.build_shards`"
    )


def _summary(labelled: int, listed: int, output: Path, where: Path) -> str:
    text = f"{labelled:,} photos labelled in {output}"
    return text + (f"\n  {listed:,} without a label: {where}" if listed else "")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.label_scenes",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--shards", type=Path, metavar="DIR", help="shards, or train and val of it")
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of photos, with --csv")
    add("--csv", type=Path, help="table of their ids and positions")
    add("--output", type=Path, required=True, help="folder for shards, or CSV; goes on if begun")
    add("--model", required=True, help="a Places365 classifier: name, folder, or file of weights")
    add("--batch", type=int, default=32, help="photos that go through the network at a time")
    add("--device", default="auto", help="cpu, cuda, cuda:1, or auto: the GPU where there is one")
    add("--workers", type=int, default=4, help="threads that decode photos")
    add("--hierarchy", type=Path, help="the scene hierarchy of Places as CSV, instead of our own")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse_arguments(arguments)

    def run() -> None:
        for line in label_scenes(options):
            print(line)

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
