"""Which row of a photo table goes into which shard: laid down once, then worked off.

    OUTPUT/plan.json            what was asked for and, when all is packed, what came of it
    OUTPUT/parts/rows.arrow     the rows, a record batch for each part; gone when all is packed
    OUTPUT/parts/refused.csv    the rows that are in no part

A part is one shard. Parts know nothing of each other, so they are made in any order and number at
a time, and those that are there when a run is stopped need not be made again.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from data.sharding.part import part_is_done
from partitioning.atomic_file import atomic_path
from setup.split_photos import SPLITS

PLAN, PARTS = "plan.json", "parts"


@dataclass(frozen=True)
class Part:
    """One shard to be made.

    Attributes:
        output: folder of all splits.
        split: one of `SPLITS`.
        name: of the tar.
        number: of its record batch.
        num_rows: of the table.
    """

    output: Path
    split: str
    name: str
    number: int
    num_rows: int

    def __str__(self) -> str:
        return str(self.directory / self.name)

    @property
    def directory(self) -> Path:
        """Where the shard goes."""
        return self.output / self.split

    @property
    def work(self) -> Path:
        """A folder of the part's own, for what is needed until it is done."""
        return self.output / PARTS / self.split / Path(self.name).stem

    @property
    def outcome(self) -> Path:
        """The file whose presence says that the part is done."""
        return self.work.with_suffix(".json")

    @property
    def vectors(self) -> Path:
        """The descriptors of the part's samples."""
        return self.work.with_suffix(".f16.npy")

    def is_done(self) -> bool:
        """Whether nothing is left to do; a split that is joined has no parts any more."""
        is_joined = (self.directory / "manifest.parquet").is_file()
        return self.outcome.is_file() and (is_joined or part_is_done(self.directory, self.name))

    def rows(self) -> pd.DataFrame:
        """The part's rows of the table."""
        with pa.memory_map(str(self.output / PARTS / "rows.arrow")) as file:
            return pa.ipc.open_file(file).get_batch(self.number).to_pandas()


@dataclass(frozen=True)
class Plan:
    """A folder of shards and what is known of it.

    Attributes:
        output: the folder.
        asked: settings, by name.
        packed: counts, once all is packed; None before.
    """

    output: Path
    asked: dict[str, str]
    packed: dict[str, Any] | None = None

    @classmethod
    def read(cls, output: Path, asked: dict[str, str]) -> "Plan | None":
        """The plan that `output` was begun with; None where it is empty.

        Raises:
            ValueError: it was begun with other settings, or holds something else.
        """
        file = output / PLAN
        if not file.is_file():
            # A run that was stopped before its plan was laid down left nothing else.
            names = {path.name for path in output.iterdir() if path.name != PARTS}
            if any(not name.endswith(f"{PLAN}.tmp") for name in names):
                raise ValueError(
                    f"{output} is not empty; give an empty folder, or remove what is in it"
                )
            return None
        try:
            plan = cls(output, **json.loads(file.read_text()))
            changed = [
                name for name in asked | plan.asked if asked.get(name) != plan.asked.get(name)
            ]
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{file} cannot be read ({error}); remove {output}") from error
        if changed:
            raise ValueError(
                f"{output} was begun with another {', '.join(changed)}; give the same as then to "
                "go on with it, or an empty folder to begin anew"
            )
        return plan

    def write(self) -> None:
        """Write plan.json, atomically."""
        content = {"asked": self.asked} | ({"packed": self.packed} if self.packed else {})
        with atomic_path(self.output / PLAN) as temporary:
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")

    def parts(self) -> list[Part]:
        """All parts, split by split."""
        with pa.memory_map(str(self.output / PARTS / "rows.arrow")) as file:
            listed = json.loads(pa.ipc.open_file(file).schema.metadata[b"parts"])
        return [Part(self.output, *fields) for fields in listed]

    def refused(self) -> pd.DataFrame:
        """The rows that are in no part."""
        path = self.output / PARTS / "refused.csv"
        return pd.read_csv(path, dtype={"id": str, "reason": str}, keep_default_na=False)

    def clear(self) -> None:
        """Remove what only the work needed."""
        shutil.rmtree(self.output / PARTS, ignore_errors=True)


def lay_down(
    plan: Plan,
    photos: pd.DataFrame,
    refused: pd.DataFrame,
    split: np.ndarray,
    samples_per_shard: int,
) -> None:
    """Write a plan into its folder, plan.json last.

    Args:
        plan: to be written.
        photos: the usable rows.
        refused: row, id and reason of the others.
        split: int `(N,)`, index into `SPLITS` of each usable row.
        samples_per_shard: rows of a part.
    """
    plan.clear()
    listed: list[tuple[str, str, int, int]] = []
    places: list[np.ndarray] = []
    for number in np.unique(split):
        rows = np.flatnonzero(split == number)
        for shard, start in enumerate(range(0, len(rows), samples_per_shard)):
            places.append(rows[start : start + samples_per_shard])
            name = f"shard-{shard:06d}.tar"
            listed.append((SPLITS[number], name, len(listed), len(places[-1])))
    _write_rows(plan.output / PARTS / "rows.arrow", photos, places, json.dumps(listed))
    with atomic_path(plan.output / PARTS / "refused.csv") as temporary:
        refused.to_csv(temporary, index=False)
    plan.write()


def _write_rows(path: Path, photos: pd.DataFrame, places: list[np.ndarray], listed: str) -> None:
    table = pa.Table.from_pandas(photos, preserve_index=False)
    schema = table.schema.with_metadata((table.schema.metadata or {}) | {b"parts": listed})
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), schema) as file:
        for rows in places:
            file.write_table(
                table.take(rows).combine_chunks().replace_schema_metadata(schema.metadata)
            )


@contextmanager
def alone(output: Path) -> Iterator[None]:
    """Have a folder to oneself, made if it is not there.

    Raises:
        ValueError: another run is at work in it.
    """
    output.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(output, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another run is at work in {output}; wait for its end") from None
        yield
    finally:
        os.close(descriptor)
