"""Where downloaded photos go: shards of the Sample contract (data/sample.py), made as they come.

A photo's shard is its turn divided by the samples of a shard: given by the list, not by which
server answered first, so the shards have the same bytes however often the download was stopped.
Photos wait in the ledger until all of their shard have been asked for; then the shard is written,
whole or not at all (data/sharding/part.py). What changes later (a photo that came in another round,
one that was removed, another position) has its shard written anew from itself and the ledger.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.sharding.index_tables import MANIFEST, MANIFEST_SCHEMA, read_table
from data.sharding.part import PART, ShardPart, join_parts, part_is_done
from data.sharding.reopened_shards import reopen_parts
from data.sharding.scan import mapped, members_at, scan
from data.sharding.tar_members import Buffer
from setup.downloading.ledger import Job, Ledger
from setup.downloading.report import Row

PAGE = 50  # photos in memory while a shard is written


class PhotoShards:
    """A folder of shards, beside its ledger; for any thread.

    Args:
        ledger: of the folder, with its samples per shard.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.directory, self.ledger = ledger.directory, ledger
        self._writing = threading.Lock()

    def check(self) -> int:
        """Have photos asked for that are in no shard any more; returns how many."""
        listed, lost = self._listed_bytes(), 0
        sql = "SELECT DISTINCT turn / ? FROM photos WHERE sha256 != ''"
        for (number,) in self.ledger.ask(sql, (self.ledger.samples_per_shard,)):
            if not self._is_whole(_name(number), listed):
                lost += self._mend(number)
        return lost

    def _mend(self, number: int) -> int:
        """Have a shard that is not as its table says written anew from the photos it holds."""
        with _opened(self.directory / _name(number)) as shard:
            gone = [
                turn for turn, *_, key, jpg in self._photos(number) if not (jpg or key in shard)
            ]
        self.ledger.lose(gone)
        with self.ledger.change() as run:
            run(
                "UPDATE photos SET is_unpacked = 1 WHERE turn >= ? AND turn < ? AND sha256 != ''",
                self._range(number),
            )
        return len(gone)

    def find(self, job: Job) -> bool:
        """No photo is in shards that the ledger does not know."""
        return False

    def save(self, job: Job, row: Row, jpg: bytes, etag: str, modified: str) -> None:
        """Keep a photo until its shard is written."""
        self.ledger.finish(job, row, etag, modified, jpg)

    def remove(self, job: Job, row: Row) -> None:
        """Remove a photo that is not to be had any more; its shard is written anew without it."""
        self.ledger.finish(job, row)

    def settle(self, turn: int) -> None:
        """Write the shard of this photo if all of it have been asked for."""
        number = turn // self.ledger.samples_per_shard
        if not self._turns(number, "is_due", most=1):
            with self._writing:
                if self._turns(number, "is_unpacked", most=1):
                    self._write(number)

    def close(self) -> None:
        """Write the shards that are not whole as they are, then index and manifest."""
        size = self.ledger.samples_per_shard
        sql = "SELECT DISTINCT turn / ? FROM photos WHERE is_unpacked"
        for (number,) in self.ledger.ask(sql, (size,)):
            self._write(number)
        if any(self.directory.glob(f"*{PART}")):
            join_parts(self.directory)

    def _write(self, number: int) -> None:
        """Write a shard anew from the ledger and, for what is not waiting there, from itself."""
        if (self.directory / MANIFEST).exists():
            reopen_parts(self.directory)
        name, lost = _name(number), []
        with _opened(self.directory / name) as old, ShardPart(self.directory, name) as part:
            for turn, url, known, key, jpg in self._photos(number):
                if jpg := jpg or old.photo(key):
                    part.write(key, jpg, json.loads(known) | {"url": url})
                else:
                    lost.append(turn)
        with self.ledger.change() as run:
            done = "WHERE turn >= ? AND turn < ?"
            run(f"UPDATE photos SET is_unpacked = 0 {done}", self._range(number))
            run(f"DELETE FROM packing {done}", self._range(number))
        self.ledger.lose(lost)

    def _photos(self, number: int) -> Iterator[tuple[int, str, str, str, bytes | None]]:
        """Turn, URL, JSON, key and, where it waits in the ledger, JPEG of each photo of a shard."""
        after, end = self._range(number)
        while found := self.ledger.ask(
            "SELECT turn, url, json, key, jpg FROM photos JOIN metadata USING (key) "
            "LEFT JOIN packing USING (turn) WHERE turn >= ? AND turn < ? AND sha256 != '' "
            "ORDER BY turn LIMIT ?",
            (after, end, PAGE),
        ):
            yield from found
            after = found[-1][0] + 1

    def _turns(self, number: int, condition: str, most: int = -1) -> list[int]:
        sql = f"SELECT turn FROM photos WHERE turn >= ? AND turn < ? AND {condition} ORDER BY turn"
        found = self.ledger.ask(f"{sql} LIMIT ?", (*self._range(number), most))
        return [turn for (turn,) in found]

    def _range(self, number: int) -> tuple[int, int]:
        size = self.ledger.samples_per_shard
        return number * size, (number + 1) * size

    def _listed_bytes(self) -> dict[str, int]:
        """Sizes of the shards by the manifest, where there is one."""
        if not (self.directory / MANIFEST).is_file():
            return {}
        rows = read_table(self.directory / MANIFEST, MANIFEST_SCHEMA).to_pylist()
        return {row["shard"]: row["bytes"] for row in rows}

    def _is_whole(self, name: str, listed: dict[str, int]) -> bool:
        path = self.directory / name
        if name in listed:
            return path.is_file() and path.stat().st_size == listed[name]
        return path.is_file() and part_is_done(self.directory, name)


def _name(number: int) -> str:
    return f"shard-{number:06d}.tar"


class _OldShard:
    """What a shard holds now."""

    def __init__(self, tar: Buffer, name: str) -> None:
        self._tar = tar
        self._spans, _ = scan(tar, name)

    def __contains__(self, key: str) -> bool:
        return key in self._spans

    def photo(self, key: str) -> bytes | None:
        """The file of a photo; None where the shard has none of this key."""
        return members_at(self._tar, self._spans[key])[0] if key in self else None


@contextmanager
def _opened(path: Path) -> Iterator[_OldShard]:
    """A shard as it is, empty where there is none."""
    if not path.is_file():
        yield _OldShard(b"", path.name)
        return
    with mapped(path) as tar:
        yield _OldShard(tar, path.name)
