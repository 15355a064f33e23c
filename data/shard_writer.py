"""Pack samples into shards: plain tars that webdataset reads too, with manifest and index.

The same samples give the same bytes: no time, owner or machine is recorded. The sample contract:
data/sample.py.
"""

import io
import json
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from data.images import image_size
from data.index_tables import MANIFEST, NOWHERE, Span, TableRows
from data.sample import JSON, SEG, check_key, position_of
from partitioning.atomic_file import atomic_path


class ShardWriter:
    """Writes samples into numbered shards; a context manager.

    A shard gets its name when it is whole and on disk; manifest and index are written at the end,
    so a folder without a manifest is unfinished. After an error neither is.

    Args:
        directory: The folder, made if it is not there; it must not hold shards yet.
        samples_per_shard: Samples in all shards but the last.

    Raises:
        ValueError: the folder holds shards, or `samples_per_shard` is not positive.
    """

    def __init__(self, directory: str | Path, samples_per_shard: int = 2000) -> None:
        self.directory = Path(directory)
        if samples_per_shard < 1:
            raise ValueError(f"samples_per_shard must be at least 1, got {samples_per_shard}")
        self.directory.mkdir(parents=True, exist_ok=True)
        if any(self.directory.glob("*.tar")) or (self.directory / MANIFEST).exists():
            raise ValueError(
                f"{self.directory} holds shards already; write into an empty folder, or remove them"
            )
        self._samples_per_shard = samples_per_shard
        self._rows = TableRows()
        self._shards = self._samples = 0  # whole shards; samples in the open one
        self._open_shard = ExitStack()
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._open_shard.__exit__(kind, error, trace)  # drops the shard that is not whole
            return
        self._close_shard()
        self._rows.write(self.directory)

    def __len__(self) -> int:
        return len(self._rows.keys)

    def write(
        self, key: str, jpg: bytes, json: dict[str, Any], seg_png: bytes | None = None
    ) -> None:
        """Append a sample; nothing of it is written where it is refused.

        Args:
            key: Image id without dots or slashes; see `data.sample.safe_key`.
            jpg: The photo's file.
            json: Metadata in plain types, with lat and lon in degrees.
            seg_png: The segmentation map's file, of the photo's size (upright).

        Raises:
            ValueError: bad or repeated key, bad position, metadata that JSON cannot hold, a photo
                or map that is no image, or a map of another size than its photo.
        """
        check_key(key)
        if key in self._rows.keys:
            raise ValueError(f"key {key!r} is written already; image ids must differ")
        members = [jpg, _metadata_bytes(key, json), seg_png or b""]
        _check_images(key, jpg, seg_png)
        if self._samples == self._samples_per_shard:
            self._close_shard()
        if self._tar is None:
            self._tar = self._start_shard()
        names = ("jpg", JSON, SEG) if seg_png else ("jpg", JSON)
        spans = [
            _append(self._tar, f"{key}.{extension}", data)
            for extension, data in zip(names, members, strict=False)
        ]
        spans += [NOWHERE] * (3 - len(spans))
        self._rows.add_sample(key, self._shard_name(), spans, members)
        self._samples += 1

    def _shard_name(self) -> str:
        return f"shard-{self._shards:06d}.tar"

    def _start_shard(self) -> tarfile.TarFile:
        # Leaving the stack closes the tar first, then takes its sum, then gives it its name.
        path = self._open_shard.enter_context(atomic_path(self.directory / self._shard_name()))
        self._open_shard.push(self._list_shard(path))
        return self._open_shard.enter_context(tarfile.open(path, "w", format=tarfile.USTAR_FORMAT))

    def _list_shard(self, path: Path) -> Callable[..., None]:
        def leave(kind: type[BaseException] | None, *_: object) -> None:
            if kind is None:
                self._rows.add_shard(path, self._shard_name(), self._samples)

        return leave

    def _close_shard(self) -> None:
        if self._tar is None:
            return
        self._open_shard.close()
        self._tar = None
        self._shards += 1
        self._samples = 0


def _append(tar: tarfile.TarFile, name: str, data: bytes) -> Span:
    """Add a member and tell where its bytes lie."""
    header = tarfile.TarInfo(name)  # time, owner and group are 0
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))
    padded = -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return tar.offset - padded, len(data)


def _metadata_bytes(key: str, metadata: dict[str, Any]) -> bytes:
    try:
        position_of(metadata)
        text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: {error}") from error


def _check_images(key: str, jpg: bytes, seg_png: bytes | None) -> None:
    photo = image_size(jpg, key)
    if seg_png and (seg := image_size(seg_png, f"{key}'s segmentation map")) != photo:
        raise ValueError(
            f"{key}: its segmentation map is {seg[1]} x {seg[0]}, its photo {photo[1]} x {photo[0]}"
            "; segment the upright photo at its own size"
        )
