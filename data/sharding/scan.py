"""What a shard really holds, read from its own headers: whole samples, and what is wrong.

`build_index` makes the tables for shards that others wrote (any WebDataset tool), or anew for
damaged ones; `data/verify.py` holds the same scan against the tables.
"""

import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from data.sample import JSON, PHOTO_EXTENSIONS, SEG, key_problem
from data.sharding.index_tables import NOWHERE, Span, TableRows, known_seg_classes
from data.sharding.tar_members import Buffer, Fault, Member, walk

# A kind of problem; only "ignored" leaves every sample of the shards whole and readable.
LOST, ALTERED, DUPLICATE, DAMAGED, EXTRA, IGNORED = (
    "lost",
    "altered",
    "duplicate",
    "damaged",
    "extra",
    "ignored",
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: kind, file name of the shard, key of the sample or "", and what."""

    kind: str
    shard: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {' '.join(filter(None, (self.shard, self.key)))}: {self.what}"


@dataclass
class Report:
    """What was found in a folder of shards.

    Attributes:
        shards: Number of shards looked at.
        samples: Number of whole, unaltered samples.
        problems: All that is wrong.
    """

    shards: int = 0
    samples: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every sample is there and unaltered, once."""
        return all(problem.kind == IGNORED for problem in self.problems)

    def keys(self, *kinds: str) -> list[str]:
        """The keys of the samples with a problem of one of these kinds, sorted, each once."""
        return sorted({p.key for p in self.problems if p.kind in kinds and p.key})

    def __str__(self) -> str:
        counts = Counter(problem.kind for problem in self.problems)
        found = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        return f"{self.samples:,} whole samples in {self.shards:,} shards; {found or 'all well'}"


@contextmanager
def mapped(path: Path) -> Iterator[Buffer]:
    """Map a file into memory for reading."""
    if path.stat().st_size == 0:  # which mmap refuses
        yield b""
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as tar:
        yield tar


def scan(tar: Buffer, shard: str) -> tuple[dict[str, list[Span]], list[Problem]]:
    """Find the samples of a tar.

    Returns:
        Key -> spans of jpg, json and seg, for samples that have a photo and metadata; and the
        problems: damage, samples without one of the two, duplicates, members left out.
    """
    spans: dict[str, dict[str, Span]] = {}
    problems, unread = [], []
    for entry in walk(tar):
        if isinstance(entry, Fault):
            kind = DAMAGED if entry.is_damage else IGNORED
            problems.append(Problem(kind, shard, "", f"at byte {entry.offset:,}: {entry.what}"))
        elif _kind_of(entry) is None:
            unread.append(entry)
        elif problem := _add_member(spans, entry, shard):
            problems.append(problem)
    problems += [_unread(member, spans, shard) for member in unread]
    whole = {}
    for key, found in spans.items():
        if missing := [member for member in ("jpg", "json") if member not in found]:
            problems.append(Problem(LOST, shard, key, f"its {' and '.join(missing)} is not there"))
        else:
            whole[key] = [found.get(member, NOWHERE) for member in ("jpg", "json", "seg")]
    return whole, problems


def _kind_of(member: Member) -> str | None:
    """Which member of a sample it is: jpg, json or seg; None for another."""
    extension = member.name.partition(".")[2].lower()
    if extension in PHOTO_EXTENSIONS:
        return "jpg"
    return {JSON: "json", SEG: "seg"}.get(extension)


def _add_member(spans: dict[str, dict[str, Span]], entry: Member, shard: str) -> Problem | None:
    """File a member under its key; return what is wrong with it, if anything."""
    key, kind = entry.name.partition(".")[0], _kind_of(entry) or ""
    if problem := key_problem(key):
        return Problem(LOST, shard, key, f"{entry.name!r}: {problem}")
    if kind in spans.setdefault(key, {}):
        return Problem(DUPLICATE, shard, key, f"{entry.name} is there twice; the first one counts")
    spans[key][kind] = (entry.offset, entry.length)
    return None


def _unread(member: Member, spans: dict[str, dict[str, Span]], shard: str) -> Problem:
    """What to say of a member that is none of ours.

    "a.b.jpg" is one more picture of a sample "a" that has a photo of its own. Where "a" has none it
    is the photo of "a.b", which this format takes apart at the first dot: then a sample is lost.
    """
    key, _, extension = member.name.partition(".")
    last = extension.lower().rpartition(".")[2]
    if last in (JSON, *PHOTO_EXTENSIONS) and "jpg" not in spans.get(key, {}):
        dotted = member.name.removesuffix(f".{SEG}").removesuffix(f".{last}")
        what = f"{member.name!r}: id with a dot; pack it under data.sample.safe_key(id)"
        return Problem(LOST, shard, dotted, what)
    return Problem(IGNORED, shard, key, f"{member.name!r} is not a member that we read")


def members_at(tar: Buffer, spans: list[Span]) -> list[bytes]:
    """The bytes of each span; empty for a member that is not there."""
    return [tar[offset : offset + length] if length > 0 else b"" for offset, length in spans]


def build_index(directory: str | Path, on_shard: Callable[[str], object] = str) -> Report:
    """Write the tables for all `*.tar` of a folder; whatever cannot be indexed is reported.

    What an earlier manifest says of the segmentation maps' classes stays: shards do not say it.

    Args:
        directory: The folder.
        on_shard: Called with the file name of each shard when it is done.

    Raises:
        ValueError: there is no shard.
    """
    directory = Path(directory)
    paths = sorted(directory.glob("*.tar"))
    if not paths:
        raise ValueError(f"no *.tar in {directory}; write some with `python -m setup.build_shards`")
    rows, report, seg_classes = TableRows(), Report(), known_seg_classes(directory)
    for path in paths:
        with mapped(path) as tar:
            samples = _index_shard(tar, path.name, rows, report)
        rows.add_shard(path, path.name, samples)
        report.shards += 1
        report.samples += samples
        on_shard(path.name)
    rows.write(directory, seg_classes)
    return report


def _index_shard(tar: Buffer, shard: str, rows: TableRows, report: Report) -> int:
    """Add the samples of a shard to `rows` and its problems to `report`; return how many."""
    found, problems = scan(tar, shard)
    report.problems += problems
    samples = 0
    for key, spans in found.items():
        try:
            rows.add_sample(key, shard, spans, members_at(tar, spans))
            samples += 1
        except ValueError as error:
            kind = DUPLICATE if key in rows.keys else LOST
            report.problems.append(Problem(kind, shard, key, str(error)))
    return samples
