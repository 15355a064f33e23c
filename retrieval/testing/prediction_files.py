"""What a search answered, as a table and as pictures."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.places import Places
from partitioning.atomic_file import atomic_path
from retrieval.nearest import Nearest
from retrieval.testing.prediction_panel import Answer, write_panel

COLUMNS = ("query", "rank", "photo", "squared_distance", "distance_m", "is_right")
PANEL_ANSWERS = 5


class Searched(NamedTuple):
    """Who was asked what.

    Attributes:
        database, queries: Their photos.
        found: Answers of each query.
        places: What is known of their places; None of an unlabelled set.
    """

    database: list[Path]
    queries: list[Path]
    found: Nearest
    places: Places | None = None

    def truth(self, query: int, row: int) -> tuple[float, bool] | None:
        """How far an answer is from the query, m, and whether it is right."""
        if self.places is None:
            return None
        apart = self.places.queries.utm_m[query] - self.places.database.utm_m[row]
        return float(np.hypot(*apart)), bool(row in self.places.positives.of(query))


def write_predictions(path: Path, searched: Searched) -> None:
    """Write one row for each query and answer, CSV."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for query, (rows, distances) in enumerate(zip(*searched.found, strict=True)):
            for rank, (row, distance) in enumerate(zip(rows.tolist(), distances, strict=True)):
                if row < 0:
                    continue
                truth = searched.truth(query, row)
                known = ["", ""] if truth is None else [f"{truth[0]:.2f}", int(truth[1])]
                names = searched.queries[query].name, rank + 1, searched.database[row].name
                writer.writerow([*names, f"{distance:.6f}", *known])


def write_panels(folder: Path, searched: Searched, count: int) -> None:
    """Draw the first queries and their answers, one PNG each."""
    for query in range(min(count, len(searched.queries))):
        rows = searched.found.rows[query, :PANEL_ANSWERS].tolist()
        shown = [_answer(searched, query, row) for row in rows if row >= 0]
        write_panel(folder / f"{query:05d}.png", searched.queries[query], shown)


def _answer(searched: Searched, query: int, row: int) -> Answer:
    truth, path = searched.truth(query, row), searched.database[row]
    if truth is None:
        return Answer(path, None, path.name[:28])
    unit = searched.places.unit if searched.places else "m"
    return Answer(path, truth[1], f"{truth[0]:.0f} {unit}")
