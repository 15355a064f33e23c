"""Teach a light network to tell how much of a photo is buildings, from a segmentation network.

    python -m models.building_share train --photos DIR --segmenter NAME_OR_DIR --out runs/buildings
    python -m models.building_share train --photos DIR --maps MAPS --out runs/buildings

The segmentation network, or the maps that it drew before, says the share of each photo once
(shares.jsonl), of one that has changed since anew; the light one learns to say the same
(models/building/model.py). What comes out is a model for `python -m setup.clean_places --model`,
and held_out.json: rank correlation (Spearman) and mean absolute error on photos that it was not
trained on, with intervals. The same command with --resume goes on where it was stopped.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from data.photos.journal import PhotoJournal, stamp_of
from partitioning.atomic_file import atomic_path

if TYPE_CHECKING:
    from models.building.sources import ShareSource
    from models.building.training import Settings, Taught

JOURNAL = "shares.jsonl"
FEW = 10  # photos; fewer teach nothing that could be judged


def teach(options: argparse.Namespace) -> str:
    """Label the photos, train, judge, write the model; returns a line for the user.

    Raises:
        ValueError, OSError: what the user gave cannot be learned from; the message says why.
    """
    # Here and not above: torch takes a second, which --help can do without.
    from models.building.model import save_share_model
    from models.building.training import in_words, train
    from models.inpainting.photos import find_photos

    paths = find_photos(options.photos)
    if (options.out / "model.safetensors").is_file():
        raise ValueError(f"{options.out} holds a model already; take another --out")
    if (options.out / JOURNAL).is_file() and not options.resume:
        raise ValueError(f"{options.out} holds a run: go on by --resume, or take another --out")
    settings = settings_of(options)
    source = teacher(options)
    shares = label(paths, options.photos, source, options.out / JOURNAL)
    known = [(path, share) for path, share in shares.items() if share is not None]
    if len(known) < FEW:
        raise ValueError(
            f"only {len(known)} of {len(paths)} photos have a share; give {FEW} or more"
        )
    taught: Taught = train([p for p, _ in known], [s for _, s in known], settings, options.out)
    figures = json.dumps(taught.figures, indent=2) + "\n"
    with atomic_path(options.out / "held_out.json") as temporary:
        temporary.write_text(figures)
    origin = {"teacher": source.source, "start": taught.start, "held out": in_words(taught.figures)}
    save_share_model(options.out, taught.model, origin | {"settings": settings.plain()})
    without = len(paths) - len(known)
    note = f"; {without:,} photos without a share: {options.out / JOURNAL}" if without else ""
    return f"model: {options.out} ({in_words(taught.figures)}{note})"


def settings_of(options: argparse.Namespace) -> "Settings":
    """The settings among the flags.

    Raises:
        ValueError: one is out of range.
    """
    from models.building.training import Settings

    names = ("backbone", "pretrained", "size", "epochs", "batch", "lr", "seed", "device", "workers")
    return Settings(**{name: getattr(options, name) for name in names})


def teacher(options: argparse.Namespace) -> "ShareSource":
    """What the light network learns from.

    Raises:
        ValueError: it cannot be had, or knows no buildings.
    """
    from data.seg_maps.stored_maps import StoredMaps
    from models.building.sources import MapShares, SegmenterShares

    classes = tuple(options.classes or ())
    if options.maps:
        return MapShares(StoredMaps(options.maps, options.photos), classes)
    from models.segmentation.segmenter import Segmenter

    segmenter = Segmenter.load(options.segmenter, options.device)
    return SegmenterShares(segmenter, classes, workers=options.workers)


def label(
    paths: list[Path], folder: Path, source: "ShareSource", journal: Path
) -> dict[Path, float | None]:
    """The share of each photo, None where it cannot be told; goes on with what `journal` holds.

    Args:
        paths: Of the photos.
        folder: That they are in.
        source: What tells the shares.
        journal: File of what is known.

    Raises:
        ValueError: the journal is another source's or another folder's.
    """
    names = {path: path.relative_to(folder).as_posix() for path in paths}
    # Before they are measured: a photo that changes meanwhile is measured again next time.
    files = {path: stamp_of(path) for path in paths}
    header = {"photos": str(folder.resolve()), "shares by": source.source}
    with PhotoJournal(journal, header) as known:
        left = [p for p, name in names.items() if known.facts.get(name, {}).get("file") != files[p]]
        console = Console(stderr=True)
        for one in track(source.measure(left), "photos", len(left), console=console):
            file = files[one.path]
            known.note(names[one.path], share=one.share, error=one.error, file=file)
        return {path: known.facts[name]["share"] for path, name in names.items()}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; a wrong one ends the program with usage and reason."""
    parser = argparse.ArgumentParser(
        prog="python -m models.building_share", description=(__doc__ or "").splitlines()[0]
    )
    train = parser.add_subparsers(dest="command", required=True).add_parser(
        "train", help="distil a segmentation network",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    add = train.add_argument
    add("--photos", type=Path, required=True, metavar="DIR", help="folder of photos")
    source = train.add_mutually_exclusive_group(required=True)
    source.add_argument("--segmenter", metavar="NAME_OR_DIR", help="segmentation network")
    source.add_argument("--maps", type=Path, metavar="DIR", help="maps that one drew of the photos")
    add("--classes", nargs="+", metavar="NAME", help="classes that count, not those of the default")
    add("--out", type=Path, required=True, metavar="DIR", help="directory of the run and the model")
    add("--backbone", default="resnet18", help="efficientnet_lite0 or any name timm knows")
    add("--pretrained", action=argparse.BooleanOptionalAction, default=True,
        help="start from ImageNet weights, at random where they cannot be had")  # fmt: skip
    add("--size", type=int, default=128, help="side of the squares that it sees, px")
    add("--epochs", type=int, default=20, help="passes over the photos")
    add("--batch", type=int, default=32, help="photos a step")
    add("--lr", type=float, default=5e-4, help="greatest learning rate")
    add("--seed", type=int, default=0, help="of everything drawn at random")
    add("--resume", action="store_true", help="go on with a run that was stopped")
    add("--device", default="auto", help="cpu, cuda, or auto: the GPU where there is one")
    add("--workers", type=int, default=2, help="threads that decode photos")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(arguments)
    try:
        sys.stdout.write(teach(options) + "\n")
    except (ValueError, OSError, FloatingPointError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command with --resume goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
