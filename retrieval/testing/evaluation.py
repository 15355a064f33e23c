"""Test one place model on one set of places and write what came out."""

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.place_sets.photos import PlacePhotos
from data.place_sets.protocols import read_protocol
from data.places import Places, find_photos, read_places
from models.places.place_model import PlaceModel
from retrieval.descriptor_cache import Engine, describe
from retrieval.rerank import (
    METHODS,
    RerankSettings,
    beside,
    first_answers_compared,
    rerank,
)
from retrieval.testing.batch_audit import BatchAudit, audit_batches
from retrieval.testing.place_search import DATABASE_FILE, Answers, SearchSettings, search_places
from retrieval.testing.prediction_files import Searched, write_panels, write_predictions
from retrieval.testing.recall_report import Recalls, measure, write_report

MOST_LISTED = 10


@dataclass(frozen=True)
class Job:
    """What to test on and what to write.

    Attributes:
        data: Set of places.
        out: Folder of the results.
        split: train, val or test.
        depths: The k of R@k.
        radius_m: How near a right answer is.
        is_labelled: Whether names hold positions.
        panels: Queries to draw.
        is_audited: See `retrieval.testing.batch_audit`.
        keeps_descriptors: Leave the descriptors' files there.
        protocol: Name of the benchmark, whose ground truth takes the place of `radius_m`.
        frames: Within which answers are right, in protocols by frames.
        allows_counts: Test on a set of other counts than the protocol's.
        rerank: How the first answers are sorted anew; None leaves them.
    """

    data: Path
    out: Path
    split: str = "test"
    depths: tuple[int, ...] = (1, 5, 10, 20)
    radius_m: float = 25.0
    is_labelled: bool = True
    panels: int = 0
    is_audited: bool = False
    keeps_descriptors: bool = False
    protocol: str = ""
    frames: int | None = None
    allows_counts: bool = False
    rerank: RerankSettings | None = None


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        answers: Of the search.
        recalls: None of an unlabelled set.
        audit: None where there was none.
    """

    answers: Answers
    recalls: Recalls | None
    audit: BatchAudit | None


def evaluate(model: PlaceModel, job: Job, settings: SearchSettings, engine: Engine) -> Result:
    """Test a model and write predictions, panels and the report.

    Raises:
        ValueError, OSError: the data cannot be tested on, or as `search_places`.
    """
    database, queries, places = photos_of(job)
    embedder = model.embedder.to(engine.device).eval()
    folder = job.out / "descriptors"
    # Before the work, so that a model which cannot be read is refused at once.
    reranker = METHODS[job.rerank.method](job.rerank, engine) if job.rerank else None
    pca_photos = training_photos(job.data, job.split) if settings.pca_dim else []
    answers = search_places(
        embedder, database, queries, model.size, folder, settings, engine, pca_photos
    )
    _report_unreadable(answers)
    first = answers
    if job.rerank and reranker:
        reranked = rerank(first.found, database, queries, job.rerank, reranker)
        answers = first._replace(found=reranked.found)
    audit = None
    if job.is_audited:
        audit = _audited(model, database, queries, folder, settings, engine)
        say(str(audit))
    searched = Searched(database, queries, answers.found, places)
    write_predictions(job.out / "predictions.csv", searched)
    write_panels(job.out / "panels", searched, job.panels)
    if not job.keeps_descriptors:
        shutil.rmtree(folder)
    if places is None:
        return Result(answers, None, audit)
    positives = [places.positives.of(query) for query in range(len(queries))]
    is_named = places.unit == "m"  # frames have no names with a note
    noted = places.queries if is_named else None
    recalls = measure(answers.found.rows, positives, job.depths, noted)
    facts = _facts(model, job, settings, answers, audit)
    if job.rerank:
        recalls = beside(measure(first.found.rows, positives, job.depths, noted), recalls)
        change = first_answers_compared(first.found, answers.found, positives)
        facts |= {"rerank": reranked.plain(job.rerank), "rerank_change": change}
        say(f"re-ranking: {change}")
    facts |= {"protocol": places.protocol} if places.protocol else {}
    facts |= {"radius_m" if places.unit == "m" else places.unit: places.radius_m}
    write_report(job.out, recalls, facts)
    return Result(answers, recalls, audit)


def photos_of(job: Job) -> tuple[list[Path], list[Path], Places | None]:
    """Database, queries, and what is known of their places.

    Raises:
        ValueError: as `read_places` and `read_protocol`.
    """
    if not job.is_labelled:
        return *find_photos(job.data, job.split), None
    if job.protocol:
        places = read_protocol(job.protocol, job.data, job.split, job.frames, job.allows_counts)
    else:
        places = read_places(job.data, job.split, job.radius_m, drop_without_positive=False)
    say(f"{job.split}: {places}")
    for name, photos in (("database", places.database), ("queries", places.queries)):
        if photos.refused:
            first, why = next(iter(photos.refused.items()))
            say(f"warning: {len(photos.refused):,} of the {name} are left out: {first}: {why}")
    return places.database.paths, places.queries.paths, places


def training_photos(data: Path, split: str) -> list[Path]:
    """Photos to fit k-means or PCA to: the training database, or the one that is searched."""
    try:
        return find_photos(data, "train")[0]
    except ValueError:
        say(f"there is no training set: the database of {split} is fitted to")
        return find_photos(data, split)[0]


def _audited(
    model: PlaceModel,
    database: list[Path],
    queries: list[Path],
    folder: Path,
    settings: SearchSettings,
    engine: Engine,
) -> BatchAudit:
    if settings.pca_dim:  # the stored ones are shortened
        rows = describe(model.embedder, PlacePhotos(database, model.size), None, engine)[:, 0]
    else:
        rows = np.load(folder / DATABASE_FILE, mmap_mode="r")[:, 0]
    return audit_batches(model.embedder, queries, rows, model.size, engine, settings.seed)


def _facts(
    model: PlaceModel,
    job: Job,
    settings: SearchSettings,
    answers: Answers,
    audit: BatchAudit | None,
) -> dict[str, Any]:
    parts = {k: v for k, v in model.embedder.settings.plain().items() if k != "img_size"}
    facts = {
        "model": model.sha256[:12] or "not saved",
        **parts,
        "size": list(model.size),
        "data": f"{job.data} {job.split}",
        "dim": answers.dim,
        **asdict(settings),
        "unreadable": dict(zip(("database", "queries"), answers.unreadable, strict=True)),
        "seconds": {name: round(value, 2) for name, value in answers.seconds.items()},
    }
    return facts | ({"batch_audit": str(audit)} if audit else {})


def _report_unreadable(answers: Answers) -> None:
    if answers.refused:
        database, queries = answers.unreadable
        say(
            f"warning: photos that cannot be read: {database:,} of the database, which are left "
            f"out, and {queries:,} queries, which count as missed:"
        )
        for path, why in list(answers.refused.items())[:MOST_LISTED]:
            say(f"  {path}: {why}")


def say(text: str) -> None:
    """Tell the user."""
    sys.stderr.write(text + "\n")
