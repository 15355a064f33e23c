"""One shard while it is written: a tar that gets its name when it is whole and on disk.

The same samples give the same bytes: no time, owner or machine is recorded. The sample contract:
data/sample.py. Whole folders: data/sharding/writer.py, or in parallel data/sharding/part.py.
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
from data.sample import JSON, SEG, check_key, position_of
from data.sharding.index_tables import NOWHERE, Span, TableRows
from partitioning.atomic_file import atomic_path


class OpenShard:
    """A context manager that writes one shard; after an error there is none.

    Args:
        path: Of the shard, made with the folder that it lies in.
        rows: Gets a row for each sample, and one for the shard when it is whole.
    """

    def __init__(self, path: Path, rows: TableRows) -> None:
        self.path = path
        self.samples = 0
        self._rows = rows
        self._stack = ExitStack()

    def __enter__(self) -> "OpenShard":
        # Leaving the stack closes the tar first, then takes its sum, then gives it its name.
        path = self._stack.enter_context(atomic_path(self.path))
        self._stack.push(self._list_shard(path))
        self._tar = self._stack.enter_context(tarfile.open(path, "w", format=tarfile.USTAR_FORMAT))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(
        self,
        key: str,
        jpg: bytes,
        json: dict[str, Any],
        seg_png: bytes | None = None,
        check_images: bool = True,
    ) -> None:
        """Append a sample; nothing of it is written where it is refused.

        Args:
            key: Image id without dots or slashes; see `data.sample.safe_key`.
            jpg: The photo's file.
            json: Metadata in plain types, with lat and lon in degrees.
            seg_png: The segmentation map's file, of the photo's size (upright).
            check_images: False takes photo and map as they are, for copying a shard: what is
                damaged there stays what it is, and is not lost besides.

        Raises:
            ValueError: bad or repeated key, bad position, metadata that JSON cannot hold, a photo
                or map that is no image, or a map of another size than its photo.
        """
        members = checked_members(key, jpg, json, seg_png, check_images)
        if key in self._rows.keys:
            raise ValueError(f"key {key!r} is written already; image ids must differ")
        names = ("jpg", JSON, SEG) if seg_png else ("jpg", JSON)
        spans = [
            _append(self._tar, f"{key}.{extension}", data)
            for extension, data in zip(names, members, strict=False)
        ]
        spans += [NOWHERE] * (3 - len(spans))
        self._rows.add_sample(key, self.path.name, spans, members)
        self.samples += 1

    def _list_shard(self, path: Path) -> Callable[..., None]:
        def leave(kind: type[BaseException] | None, *_: object) -> None:
            if kind is None:
                self._rows.add_shard(path, self.path.name, self.samples)

        return leave


def checked_members(
    key: str,
    jpg: bytes,
    metadata: dict[str, Any],
    seg_png: bytes | None,
    check_images: bool = True,
) -> list[bytes]:
    """The bytes of jpg, json and seg (empty where there is none) of a sample that may be written.

    Raises:
        ValueError: as `OpenShard.write`, but for a repeated key.
    """
    check_key(key)
    members = [jpg, _metadata_bytes(key, metadata), seg_png or b""]
    if check_images:
        _check_images(key, jpg, seg_png)
    return members


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
