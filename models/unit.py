"""Make night of day without pairs of photos: train UNIT, and write the night copy of a set.

    python -m models.unit train --day DIR --night DIR --out runs/NAME [--minutes 60]
    python -m models.unit translate --model runs/NAME --data PLACES --output PLACES_night

Liu et al., "Unsupervised Image-to-Image Translation Networks", 2017,
https://arxiv.org/abs/1703.00848; defaults are those of the authors' code but for what
models/translation/settings.py lists, above all another network that features are compared by and a
tenth of the steps. Folders are searched through; with `--day_note day --night_note night` both
sides may lie in one set of places, told apart by their names. What comes out in runs/NAME: the
translator (models/translation/model.py), checkpoints, losses.csv and samples/, a line a photo:
itself, itself again, as the other side, and back. A run that was stopped goes on with --resume,
exactly. Train on the copy too: `python -m retrieval.train --extra_data PLACES_night`. The
reference's sizes want a GPU; on a CPU take --dim 16 --crop 64 --short_side 64 --scales 2
--discriminator_layers 3.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.translation.settings import UnitSettings, add_unit_flags, unit_settings_of

if TYPE_CHECKING:
    from models.translation.run import Run


def train(options: dict[str, Any], settings: UnitSettings) -> None:
    """Train a translator.

    Raises:
        ValueError, OSError: what the user gave cannot be trained on; the message says why.
    """
    from models.devices import pick_device
    from models.translation.losses import build_perceptual
    from models.translation.photos import SidePhotos, find_side
    from models.translation.run import Run
    from models.translation.training import UnitTraining

    sides = {
        side: SidePhotos(side, find_side(options[side], options[f"{side}_note"]), settings)
        for side in ("day", "night")
    }
    listed = " and ".join(f"{len(photos.paths):,} {side}" for side, photos in sides.items())
    sys.stderr.write(f"{listed} photos\n")
    training = UnitTraining(settings, build_perceptual(settings), pick_device(options["device"]))
    run = Run(training, sides, options["out"], options["save_every"])
    run.start(options["resume"])
    run.go(options["steps"], options["minutes"], options["workers"])
    report_run(run)


def report_run(run: Run) -> None:
    """Say what was trained and what could not be read."""
    refused = {path: why for photos in run.sides.values() for path, why in photos.refused.items()}
    _warn(refused)
    sys.stdout.write(
        f"translator: {run.out} ({run.training.step:,} steps; look at {run.out / 'samples'}, then "
        f"python -m models.unit translate --model {run.out} --data PLACES --output PLACES_night)\n"
    )


def translate(options: dict[str, Any]) -> None:
    """Write the night copy of a set.

    Raises:
        ValueError, OSError: it cannot be made; the message says why.
    """
    from models.devices import pick_device
    from models.translation.model import load_unit
    from models.translation.photos import find_side
    from models.translation.run import shown
    from models.translation.translate import Translation, translate_photos

    job = Translation(options["data"], options["output"], options["to"])
    model, device = load_unit(options["model"]), pick_device(options["device"])
    with shown(f"making {job.target}", len(find_side(job.data))) as on_photo:
        facts = translate_photos(model, job, device, options["workers"], on_photo)
    _warn(facts["unreadable"])
    if facts["others"]:
        others = f"{len(facts['others']):,} photos in {job.output} are none of this copy's"
        sys.stderr.write(f"warning: {others}: {facts['others'][0]}, ...\n")
    gone = f"; {facts['removed']:,} removed, gone from {job.data}" if facts["removed"] else ""
    sys.stdout.write(f"{facts['photos']:,} SYNTHETIC {job.target} photos in {job.output}{gone}\n")


def _warn(refused: dict[str, str]) -> None:
    if refused:
        sys.stderr.write(f"warning: {len(refused):,} photos could not be read:\n")
        sys.stderr.writelines(f"  {path}: {why}\n" for path, why in list(refused.items())[:10])


def parse(arguments: list[str] | None) -> tuple[dict[str, Any], UnitSettings | None]:
    """Read the command line; a wrong one ends the program with usage and reason."""
    parser = argparse.ArgumentParser(
        prog="python -m models.unit", description="Make night of day without pairs of photos."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    look: dict[str, Any] = {
        "formatter_class": argparse.ArgumentDefaultsHelpFormatter,
        "allow_abbrev": False,
    }
    training = commands.add_parser("train", help="train a translator", **look)
    add = training.add_argument
    for side in ("day", "night"):
        add(f"--{side}", type=Path, required=True, metavar="DIR", help=f"photos by {side}")
        add(f"--{side}_note", default="", metavar="WORD", help="only names with it in their note")
    add("--out", type=Path, required=True, metavar="DIR", help="of the run; the model lies here")
    add("--steps", type=int, default=100_000, help="to take in all")
    add("--minutes", type=float, default=0.0, help="stop after so many; 0 = when all steps are")
    add("--save_every", type=int, default=1000, help="steps between two checkpoints and samples")
    add("--resume", action="store_true", help="go on from the last checkpoint in --out")
    add_unit_flags(training)
    copying = commands.add_parser("translate", help="write the night copy of a set", **look)
    add = copying.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="what `train` wrote")
    add("--data", type=Path, required=True, metavar="DIR", help="set of places, or any photos")
    add("--output", type=Path, required=True, metavar="DIR", help="of the copy, goes on there")
    add("--to", default="night", choices=("night", "day"), help="what the photos become")
    for command in (training, copying):
        command.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto")
        command.add_argument("--workers", type=int, default=2, help="threads that decode photos")
    options = vars(parser.parse_args(arguments))
    if options["command"] == "translate":
        return options, None
    if options["steps"] < 1 or options["save_every"] < 1 or not options["minutes"] >= 0:
        training.error("--steps and --save_every must be 1 or more, --minutes 0 or more")
    return options, unit_settings_of(training, options)


def main(arguments: list[str] | None = None) -> int:
    """Train or translate from the command line."""
    options, settings = parse(arguments)
    try:
        if settings is None:
            translate(options)
        else:
            train(options, settings)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        way = "the same command" if settings is None else "--resume"
        sys.stderr.write(f"interrupted; {way} goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
