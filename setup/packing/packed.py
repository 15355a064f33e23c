"""What came of packing photos into shards, and which rows of their table did not get in."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from data.tables import PhotoTable
from partitioning.atomic_file import atomic_path

REFUSED_COLUMNS = ["row", "id", "reason"]


@dataclass
class Outcome:
    """What came of one part.

    Attributes:
        samples: that were packed.
        refused: (row, id, reason); row 1 is the first under the header.
        encoded: photos that were no JPEG.
        unmapped: photos without a segmentation map, where a folder of maps was given.
        unreadable: metadata values left out, by column.
        seg_classes: JSON of the classes of the maps, if a network drew them.
    """

    samples: int = 0
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    encoded: int = 0
    unmapped: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    seg_classes: str = ""

    def refuse(self, row: dict[str, Any], reason: str) -> None:
        """List a row that does not get in."""
        self.refused.append((int(row["row"]), str(row["image_id"]), reason))

    def write(self, path: Path) -> None:
        """Write it, atomically."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(vars(self)))

    @classmethod
    def read(cls, path: Path) -> "Outcome":
        """Read what `write` wrote."""
        found = json.loads(path.read_text())
        return cls(**found | {"unreadable": Counter(found["unreadable"])})


@dataclass
class Packed:
    """What was packed in all.

    Attributes:
        refused: row, id, reason; in the order of the table.
        samples: in each split that has rows.
        encoded, unmapped, unreadable: as `Outcome`'s.
    """

    refused: pd.DataFrame
    samples: dict[str, int] = field(default_factory=dict)
    encoded: int = 0
    unmapped: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, refused: pd.DataFrame, parts: Iterable[tuple[str, Outcome]]) -> "Packed":
        """Sum up the parts, each with its split's name, and the rows that were in none."""
        packed, tables = cls(refused), [refused]
        for split, part in parts:
            packed.samples[split] = packed.samples.get(split, 0) + part.samples
            packed.encoded += part.encoded
            packed.unmapped += part.unmapped
            packed.unreadable.update(part.unreadable)
            if part.refused:
                tables.append(pd.DataFrame(part.refused, columns=REFUSED_COLUMNS))
        packed.refused = pd.concat(tables).sort_values("row", ignore_index=True)
        return packed

    def refusals(self) -> dict[str, int]:
        """How many rows were refused for each reason, less its particulars."""
        causes = Counter(str(reason).partition(":")[0] for reason in self.refused["reason"])
        return dict(causes.most_common())

    def summary(self, output: Path, refused: str) -> str:
        """What was packed into `output`, in a few lines; `refused` is a file in it."""
        counts = ", ".join(f"{name} {count:,}" for name, count in self.samples.items())
        notes = {f"refused, {reason}": count for reason, count in self.refusals().items()}
        notes |= {"encoded to JPEG": self.encoded, "without segmentation map": self.unmapped}
        notes |= {f"unreadable {name}, left out": n for name, n in self.unreadable.items()}
        lines = [f"samples in {output}: {counts}"]
        lines += [f"  {count:,} {note}" for note, count in notes.items() if count]
        if len(self.refused):
            lines.append(f"each refused row is in {output / refused}")
        return "\n".join(lines)

    def write_refused(self, path: Path) -> None:
        """Write the refused rows as CSV, atomically."""
        PhotoTable(pd.DataFrame(), self.refused).write_refused(path)

    def counts(self) -> dict[str, Any]:
        """All but the refused rows, in plain types."""
        return {
            "samples": self.samples,
            "encoded": self.encoded,
            "unmapped": self.unmapped,
            "unreadable": dict(self.unreadable),
        }

    @classmethod
    def read(cls, counts: dict[str, Any], refused: Path) -> "Packed":
        """What `counts` and `write_refused` kept."""
        table = pd.read_csv(refused, dtype={"id": str, "reason": str}, keep_default_na=False)
        return cls(table, **counts | {"unreadable": Counter(counts["unreadable"])})
