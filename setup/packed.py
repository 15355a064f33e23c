"""What came of packing photos into shards, and which rows of their table did not get in."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from data.tables import PhotoTable


@dataclass
class Packed:
    """What was packed.

    Attributes:
        samples: in each split that has any.
        refused: (row, id, reason); row 1 is the first under the header.
        encoded: photos that were no JPEG.
        unmapped: photos without a segmentation map, where a folder of maps was given.
        unreadable: metadata values left out, by column.
    """

    samples: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    encoded: int = 0
    unmapped: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)

    def refusals(self) -> Counter[str]:
        """How many rows were refused for each reason, less its particulars."""
        return Counter(reason.partition(":")[0] for _, _, reason in self.refused)

    def write_refused(self, path: Path) -> None:
        """Write the refused rows as CSV, atomically, in the order of the table."""
        table = pd.DataFrame(sorted(self.refused), columns=["row", "id", "reason"])
        PhotoTable(pd.DataFrame(), table).write_refused(path)
