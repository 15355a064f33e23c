"""The settings of one `retrieval.compare`: what decides its figures, kept in its folder."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from partitioning.atomic_file import atomic_path
from retrieval.comparing.methods import METHODS

TOY_FLAGS = (
    "--img_size 80 112 --clusters 16 --trained_blocks 6 --queries_per_epoch 300 "
    "--cache_refresh_rate 150 --mining partial --negatives 4 --negatives_pool 300 --epochs 5"
)
FAST_FLAGS = (
    "--img_size 32 48 --clusters 4 --trained_blocks 1 --queries_per_epoch 4 --workers 0 "
    "--cache_refresh_rate 4 --mining partial --negatives 1 --negatives_pool 8 --train_batch 2 "
    "--epochs 1"
)
OF_RECIPE = "recipe"


@dataclass(frozen=True)
class Study:
    """What decides the figures; a folder holds one such study.

    Attributes:
        data: The user's set; "" is the synthetic town.
        plain: The user's set of the same places cut plainly out of panoramas.
        undistorted: Likewise, undistorted.
        maps: Segmentation maps of the user's set.
        backbone: Of all rows, or `OF_RECIPE`.
        train_flags: Further ones, of all trainings.
        is_fast: Everything tiny.
    """

    data: str = ""
    plain: str = ""
    undistorted: str = ""
    maps: str = ""
    backbone: str = "efficientnet_lite0"
    train_flags: str = ""
    is_fast: bool = False

    @property
    def scale(self) -> str:
        """As `retrieval.comparing.runs.Runs`."""
        return "" if self.data else "fast" if self.is_fast else "toy"

    @property
    def flags(self) -> str:
        """Of all trainings."""
        small = {"toy": TOY_FLAGS, "fast": FAST_FLAGS}.get(self.scale, "")
        backbone = "" if self.backbone == OF_RECIPE else f"--backbone {self.backbone}"
        return f"{backbone} {small}"

    def command(self, names: Sequence[str]) -> str:
        """The command that makes such a study of the rows named."""
        given = [
            f"--{entry.name}={shlex.quote(str(getattr(self, entry.name)))}"
            for entry in fields(self)
            if entry.name != "is_fast" and getattr(self, entry.name) != entry.default
        ]
        words = [*given, *(["--fast"] if self.is_fast else []), "--methods", *names]
        return f"python -m retrieval.compare --out DIR {' '.join(words)}"

    def about(self, names: Sequence[str]) -> list[str]:
        """What the report of the rows named says above its table."""
        what = (
            f"{self.data}." if self.data else "A SYNTHETIC town, made up; no real photo is in it."
        )
        said = [
            what,
            f"Made by `{self.command(names)}`.",
            f"Flags of all trainings beside each recipe's: `{self.flags.strip()}`.",
        ]
        if self.backbone != OF_RECIPE:
            said.append(
                f"All rows see through {self.backbone} in place of their recipe's network, so that "
                "netvlad and resnetvlad differ by their optimiser alone."
            )
        return [
            *said,
            "Recalls in percent, 25 m. Minutes are of a row's own commands, others running beside "
            "them: a row that is tested with the model of the row it stands on does not count its "
            "training.",
        ]


def open_folder(out: Path, study: Study) -> None:
    """Remember what study a folder holds.

    Raises:
        ValueError: it holds another one.
    """
    path, methods = out / "study.json", {name: asdict(m) for name, m in METHODS.items()}
    ours = json.dumps({**asdict(study), "flags": study.flags, "methods": methods}, indent=2)
    if path.is_file() and path.read_text() != ours:
        raise ValueError(f"{out} holds a study with other settings: take another --out")
    with atomic_path(path) as temporary:
        temporary.write_text(ours)
