"""Before and after, by day and by night: does a model see in the dark, and what does it cost?

    python -m retrieval.night_report --data DIR --models plain=runs/a night=runs/b --output DIR

The first model is the one before; each other is compared with it on the same queries, by day and by
night. What comes out: night.md, night.csv, night.json, night.png, and each model's predictions in a
folder of its name. A model that was tested is not tested again. Where no note in the queries' names
says day or night they are told apart by brightness, and the report says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from partitioning.atomic_file import atomic_path
from retrieval.night.conditions import NIGHT_BELOW, WAYS

if TYPE_CHECKING:
    from data.places import Places
    from models.places.place_model import PlaceModel
    from retrieval.descriptor_cache import Engine
    from retrieval.testing.evaluation import Job

RANKS = "ranks.json"
DEPTHS = (1, 5, 10, 20)


def report(options: dict[str, Any]) -> str:
    """Test the models and write the report; returns it as Markdown.

    Raises:
        ValueError, OSError: a model or the set cannot be had; the message says why.
    """
    from data.places import read_places
    from models.places.place_model import load_place_model
    from retrieval.evaluate import answerable
    from retrieval.night.comparison import compare_by_condition, markdown, write_night_report
    from retrieval.night.conditions import conditions_of
    from retrieval.night.plot import draw_night

    data, out, split = options["data"], options["output"], options["split"]
    models = {
        name: load_place_model(path) for name, path in named_models(options["models"]).items()
    }
    places = read_places(data, split, options["radius_m"], drop_without_positive=False)
    asked = answerable([places.positives.of(query) for query in range(len(places.queries))])
    conditions = conditions_of(places.queries.paths, data, options["by"], options["night_below"])
    engine = _engine(options)
    ranks = {}
    for name, model in models.items():
        sys.stderr.write(f"{name}:\n")
        ranks[name] = ranks_of(model, places, job_of(options, name), engine)[asked]
    rows = compare_by_condition(ranks, conditions.names[asked], DEPTHS)
    facts = {
        "data": f"{data} {split}",
        "queries": f"day and night told apart {conditions.how}",
        **({"synthetic": conditions.synthetic} if conditions.synthetic else {}),
        "left out": f"{int((~asked).sum()):,} queries without a positive within "
        f"{options['radius_m']:g} m",
        **_gaps(conditions.names[asked]),
        **{f"model {name}": model.sha256[:12] for name, model in models.items()},
    }
    write_night_report(out, rows, facts)
    title = f"{data.name} {split}" + (f": {conditions.synthetic}" if conditions.synthetic else "")
    draw_night(rows, DEPTHS[0], out / "night.png", title)
    return markdown(rows, facts)


def named_models(parts: list[str]) -> dict[str, Path]:
    """Read NAME=DIR.

    Raises:
        ValueError: not of that form, a name that is no folder's name, or one twice.
    """
    models: dict[str, Path] = {}
    for part in parts:
        name, separator, path = part.partition("=")
        if not separator or not path or not re.fullmatch(r"[\w.+-]+", name) or name in (".", ".."):
            raise ValueError(f"--models {part!r} is not of the form NAME=DIR, NAME of letters")
        if name in models:
            raise ValueError(f"--models: {name} is there twice")
        models[name] = Path(path)
    return models


def job_of(options: dict[str, Any], name: str) -> Job:
    """What one model is tested on."""
    from retrieval.testing.evaluation import Job

    return Job(
        options["data"], options["output"] / name, options["split"], DEPTHS, options["radius_m"]
    )


def ranks_of(model: PlaceModel, places: Places, job: Job, engine: Engine) -> NDArray[np.int64]:
    """Rank of each query's first right answer `(Q,)`, from 0; -1 where none is or can be.

    Tested once: what was found lies in the job's folder, with what it was found with.

    Raises:
        ValueError, OSError: as testing.
    """
    from retrieval.evaluate import answerable, first_hits
    from retrieval.testing.evaluation import evaluate
    from retrieval.testing.place_search import SearchSettings

    photos = [*places.database.paths, *places.queries.paths]
    names = "\n".join(f"{path.name} {path.stat().st_size}" for path in photos)
    key = {
        "model": model.sha256,
        "photos": hashlib.sha256(names.encode()).hexdigest(),
        "radius_m": job.radius_m,
    }
    path = job.out / RANKS
    kept = _read_ranks(path, key, len(places.queries))
    if kept is not None:
        sys.stderr.write(f"kept from {path}\n")
        return kept
    result = evaluate(model, job, SearchSettings(depth=max(DEPTHS)), engine)
    positives = [places.positives.of(query) for query in range(len(places.queries))]
    asked = np.flatnonzero(answerable(positives))
    ranks = np.full(len(positives), -1, np.int64)
    ranks[asked] = first_hits(result.answers.found.rows[asked], [positives[i] for i in asked])
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({**key, "ranks": ranks.tolist()}) + "\n")
    return ranks


def _read_ranks(path: Path, key: dict[str, Any], queries: int) -> NDArray[np.int64] | None:
    """What was found before with the same model and photos, else None."""
    try:
        found = json.loads(path.read_text())
        if {name: found[name] for name in key} != key or len(found["ranks"]) != queries:
            return None
        return np.array(found["ranks"], np.int64)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _gaps(names: NDArray[np.str_]) -> dict[str, str]:
    """What is lacking, said plainly."""
    lacking = [name for name in ("day", "night") if not (names == name).any()]
    gaps = {"lacking": f"there is no query by {' or '.join(lacking)}"} if lacking else {}
    unknown = int((names == "").sum())
    return gaps | ({"unreadable": f"{unknown:,} queries, counted in all only"} if unknown else {})


def _engine(options: dict[str, Any]) -> Engine:
    from models.devices import pick_device
    from retrieval.descriptor_cache import Engine

    return Engine(pick_device(options["device"]), options["batch"], options["workers"])


def main(arguments: list[str] | None = None) -> int:
    """Compare from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.night_report",
        description="Before and after, by day and by night.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="set of places")
    add(
        "--models", nargs="+", required=True, metavar="NAME=DIR",
        help="what `python -m retrieval.train` wrote; the first is the one before",
    )  # fmt: skip
    add("--output", type=Path, required=True, metavar="DIR", help="of the report")
    add("--split", default="test", choices=("train", "val", "test"), help="part of the set")
    add("--radius_m", type=float, default=25.0, help="how near a right answer is, m")
    add("--by", default="auto", choices=WAYS, help="how day is told from night")
    add(
        "--night_below", type=float, default=NIGHT_BELOW,
        help="mean linear luminance, 0..1, below which a photo is night, where it is measured",
    )  # fmt: skip
    add("--device", default="auto", help="cpu, cuda, cuda:1 or auto")
    add("--batch", type=int, default=16, help="photos described at a time")
    add("--workers", type=int, default=2, help="threads that decode photos")
    options = vars(parser.parse_args(arguments))
    try:
        sys.stdout.write(report(options))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
