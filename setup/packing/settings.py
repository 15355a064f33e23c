"""What is packed into shards, and how: the settings of `setup.build_shards` and its flags."""

import argparse
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from setup.downloading.settings import Settings, add_asking_flags
from setup.engine import ENGINES


@dataclass(frozen=True)
class PackSettings:
    """What decides the bytes of the shards.

    Attributes:
        csv: table of id, lat, lon and whatever else `data.tables` reads.
        images: folder of photos named by their ids; or
        url_csv: list of ids and URLs, to download the photos from.
        seg: folder of class-index PNGs; a photo without one is packed without, a photo whose map
            is damaged or of another size is refused; or
        segmenter: name or folder of the network that draws the maps; "" for none.
        embed: model bundle that describes each photo; None for none.
        samples_per_shard: rows of the table in a shard; those refused leave it shorter.
        val_share: share of the photos for validation, whole photographers.
        test_share: share of the photos for testing, likewise.
        seed: of the draw; see `setup.split_photos`.
        download: how photos are asked for.

    Raises:
        ValueError: two of them contradict each other, or a number is out of range.
    """

    csv: Path
    images: Path | None = None
    url_csv: Path | None = None
    seg: Path | None = None
    segmenter: str = ""
    embed: Path | None = None
    samples_per_shard: int = 2000
    val_share: float = 0.1
    test_share: float = 0.0
    seed: int = 0
    download: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if (self.images is None) == (self.url_csv is None):
            raise ValueError("give either a folder of photos (--images) or a --url_csv")
        if self.seg and self.segmenter:
            raise ValueError("--seg and --segmenter: the maps come from one of them only")
        if self.samples_per_shard < 1:
            raise ValueError(f"samples_per_shard must be at least 1, got {self.samples_per_shard}")

    def check_input(self) -> None:
        """Raise ValueError for a folder or file that is not there."""
        for folder in (self.images, self.seg, self.embed):
            if folder is not None and not folder.is_dir():
                raise ValueError(f"no folder {folder}")
        for file in (self.csv, self.url_csv):
            if file is not None and not file.is_file():
                raise ValueError(f"no file {file}")
        if self.embed and not (self.embed / "config.json").is_file():
            raise ValueError(f"no model bundle in {self.embed} (no config.json)")

    def absolute(self) -> "PackSettings":
        """The same with absolute paths, for workers that may have another working directory."""
        changes: dict[str, Any] = {"csv": self.csv.absolute()}
        for name in ("images", "url_csv", "seg", "embed"):
            changes[name] = path.absolute() if (path := getattr(self, name)) else None
        if self._has_local_segmenter():
            changes["segmenter"] = str(Path(self.segmenter).absolute())
        return replace(self, **changes)

    def _has_local_segmenter(self) -> bool:
        return bool(self.segmenter) and Path(self.segmenter).is_dir()

    def record(self) -> dict[str, str]:
        """Each setting as a text that differs where the shards would.

        A file is known by its bytes, a folder by its place; neither is told, for the record stays
        with the shards.
        """
        record = {name: str(getattr(self, name)) for name in _PLAIN}
        if self._has_local_segmenter():
            record["segmenter"] = _of_folder(Path(self.segmenter))
        record |= {name: _of_file(getattr(self, name)) for name in ("csv", "url_csv")}
        record |= {name: _of_folder(getattr(self, name)) for name in ("images", "seg")}
        if self.embed:
            record["embed"] = _of_file(self.embed / "config.json")
        if self.url_csv:
            record |= {name: str(getattr(self.download, name)) for name in ("size", "size_suffix")}
        return record


_PLAIN = ("segmenter", "samples_per_shard", "val_share", "test_share", "seed")


def _of_file(path: Path | None) -> str:
    if path is None:
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_folder(path: Path | None) -> str:
    return hashlib.sha256(bytes(path.resolve())).hexdigest() if path else ""


def settings_of(options: argparse.Namespace) -> PackSettings:
    """The settings of a command line.

    Raises:
        ValueError: one of them is unusable.
    """
    names = [name for name in PackSettings.__dataclass_fields__ if name != "download"]
    download = Settings(
        size=options.size,
        size_suffix=options.size_suffix,
        workers=options.download_workers,
        per_host=options.per_host,
        contact=options.contact,
        allow_private=options.allow_private,
    )
    return PackSettings(**{name: getattr(options, name) for name in names}, download=download)


def parse_arguments(arguments: list[str] | None, about: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.build_shards",
        description=(about or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--csv", type=Path, required=True, help="table of id, lat, lon, and author, s3 ... if any")
    add("--output", type=Path, required=True, help="empty folder for the shards, or one begun")
    add("--images", type=Path, help="folder of photos named by their ids")
    add(
        "--url_csv",
        type=Path,
        help="CSV of id,url to download the photos from, instead of a folder",
    )
    add("--seg", type=Path, help="folder of segmentation maps: class-index PNGs")
    add("--segmenter", default="", help="network that draws the maps: a name or folder")
    add("--embed", type=Path, help="model bundle that describes each photo")
    add("--samples_per_shard", type=int, default=2000, help="rows of the table in a shard")
    add("--val_share", type=float, default=0.1, help="share for validation, whole photographers")
    add("--test_share", type=float, default=0.0, help="share for OUTPUT/test")
    add("--seed", type=int, default=0, help="of the draw")
    add("--workers", type=int, default=0, help="processes; 0 takes all cores")
    add("--engine", choices=ENGINES, default="local", help="where they run")
    add("--ray_address", default="", help="of a Ray cluster (default: RAY_ADDRESS, or a new one)")
    _add_download(parser)
    return parser.parse_args(arguments)


def _add_download(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("with --url_csv").add_argument
    add("--download_workers", type=int, default=32, help="downloads at a time of each process")
    add_asking_flags(add)
