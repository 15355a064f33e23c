"""A night copy of a set of places: the same files under the same names, each photo translated.

    OUTPUT/images/...         as in the set, marked as synthetic in their EXIF description
    OUTPUT/provenance.json    what made them, of what, and what could not be read
    OUTPUT/translated.jsonl   which were made, and of what state of their photos

A photo is shrunk to the size that the translator learned at, translated, and brought back to its
own size. What is there already is not made again, unless its photo has changed since. What was made
of a photo that is gone, or cannot be read any more, is removed: photos that were withdrawn are not
kept. A file that was not made here and lies where a copy would is left alone and counted. A copy by
another model or of another folder is refused.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from data.images import ImageError, read_rgb
from data.photos.journal import PhotoJournal, remove_made, stamp_of
from data.place_sets.photos import resized
from data.places import image_files
from models.translation.losses import OTHER
from models.translation.model import UnitModel
from models.translation.photos import find_side, with_short_side
from partitioning.atomic_file import atomic_path

PROVENANCE, JOURNAL = "provenance.json", "translated.jsonl"
QUALITY = 92
DESCRIPTION_TAG = 0x010E  # EXIF ImageDescription
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
READ_AHEAD = 8  # photos


@dataclass(frozen=True)
class Translation:
    """What to make.

    Attributes:
        data: Folder of photos, a set of places for instance.
        output: Of the copy.
        target: night, or day for the way back.
    """

    data: Path
    output: Path
    target: str = "night"

    def __post_init__(self) -> None:
        if self.target not in OTHER:
            raise ValueError(f"photos are made {' or '.join(OTHER)}, not {self.target!r}")
        data, output = self.data.resolve(), self.output.resolve()
        if output == data or data in output.parents or output in data.parents:
            raise ValueError(f"{self.output} lies in {self.data} or around it; give another folder")


@torch.inference_mode()
def translate_photos(
    model: UnitModel,
    job: Translation,
    device: torch.device,
    workers: int = 2,
    on_photo: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Translate all photos of a folder that are not there yet.

    Args:
        model: The translator.
        job: What to make of what.
        device: Where.
        workers: Threads that decode.
        on_photo: Called when a photo is done, or found done.

    Returns:
        What provenance.json says: among others `photos`, the number there now, `unreadable`,
        `removed`, how many were taken away because their photos are gone, `others`, photos in the
        copy that are none of it, and `left_alone`, those of them that lie where one would.

    Raises:
        ValueError: no photo, or the copy there was made by another model or of another folder, or
            its journal cannot be read.
        OSError: a file cannot be written; those before it are whole.
    """
    paths = find_side(job.data)
    facts = provenance(model, job)
    check_provenance(job.output, facts)
    write_provenance(job.output, facts)
    translator, unreadable = model.translator.to(device).eval(), {}
    header = {name: facts[name] for name in ("model_sha256", "light")}
    with PhotoJournal(job.output / JOURNAL, header) as known:
        removed = _remove_gone(job, known)
        free, left_alone = _free(job, known, paths)
        for _ in left_alone:
            on_photo()
        for source, stamp, rgb in _read(job, known, free, workers):
            name = source.as_posix()
            if isinstance(rgb, ImageError):
                unreadable[str(source)] = str(rgb).removeprefix(f"{job.data / source}: ")
                _remove(job, known, name)
            elif rgb is not None:
                night = translated(rgb, model, job.target, translator, device)
                # Before it is written: a kill leaves nothing old, and nothing that is on no record.
                _remove(job, known, name)
                known.note(name, stamp=stamp)
                write_photo(job.output / source, night, facts["mark"])
            on_photo()
        there = {path.relative_to(job.output).as_posix() for path in image_files(job.output)}
        others = sorted(there - known.facts.keys())
    facts |= {"complete": True, "photos": len(free) - len(unreadable), "unreadable": unreadable}
    facts |= {"removed": removed, "others": others, "left_alone": left_alone}
    write_provenance(job.output, facts)
    return facts


def _remove_gone(job: Translation, known: PhotoJournal) -> int:
    """Remove what was made of photos that are gone; returns how many were there."""
    gone = [name for name in known.facts if not (job.data / name).is_file()]
    return sum(_remove(job, known, name) for name in gone)


def _free(job: Translation, known: PhotoJournal, paths: list[Path]) -> tuple[list[Path], list[str]]:
    """Photos whose copies may be written, and names of those where something else lies."""
    for name in [name for name in known.facts if not (job.output / name).exists()]:
        known.forget(name)  # else what is put there later would be taken for made
    names = {path.relative_to(job.data).as_posix(): path for path in paths}
    is_free = {n: n in known.facts or not (job.output / n).exists() for n in names}
    free = [path for name, path in names.items() if is_free[name]]
    return free, [name for name in names if not is_free[name]]


def _remove(job: Translation, known: PhotoJournal, name: str) -> bool:
    """Remove what the journal says was made of a photo, and nothing else."""
    if name not in known.facts:
        return False
    is_there = remove_made(job.output, name)
    known.forget(name)
    return is_there


def translated(
    rgb: Tensor, model: UnitModel, target: str, translator: Any, device: torch.device
) -> Tensor:
    """A photo uint8 `(3, H, W)` as the other side, at its own size."""
    side = translator.settings.short_side
    size = (rgb.shape[1], rgb.shape[2])
    small = with_short_side(rgb, side) if min(size) > side else rgb
    pictures = small[None].to(device).float() / 127.5 - 1
    night = (translator.translate(pictures, OTHER[target], target)[0] + 1) * 127.5
    return resized(night.round().clamp(0, 255).to(torch.uint8).cpu(), size)


def provenance(model: UnitModel, job: Translation) -> dict[str, Any]:
    """What is said of a copy before it is complete; plain types."""
    return {
        "synthetic": True,
        "mark": f"SYNTHETIC {job.target}: translated by UNIT {model.sha256[:12]}, no photograph",
        "made_by": "python -m models.unit translate",
        "light": job.target,
        "of": str(job.data),
        "model_sha256": model.sha256,
        "model_origin": model.origin,
        "settings": model.translator.settings.plain(),
        "complete": False,
    }


def check_provenance(output: Path, facts: dict[str, Any]) -> None:
    """See that what is in a folder is a copy to go on with.

    Raises:
        ValueError: it is not.
    """
    if not output.is_dir() or not any(output.iterdir()):
        return
    try:
        there = json.loads((output / PROVENANCE).read_text())
    except (OSError, ValueError):
        raise ValueError(
            f"{output} holds files and no whole {PROVENANCE}; give an empty folder"
        ) from None
    for name in ("model_sha256", "light", "of"):
        if there.get(name) != facts[name]:
            raise ValueError(
                f"{output} was made with another {name} ({there.get(name)}, now {facts[name]}); "
                "give another folder"
            )


def write_provenance(output: Path, facts: dict[str, Any]) -> None:
    """Write provenance.json."""
    with atomic_path(output / PROVENANCE) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")


def write_photo(path: Path, rgb: Tensor, mark: str) -> None:
    """Write uint8 `(3, H, W)` in the format of the name, marked."""
    exif = Image.Exif()
    exif[DESCRIPTION_TAG] = mark
    picture = Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())
    with atomic_path(path) as temporary:
        picture.save(temporary, FORMATS[path.suffix.lower()], quality=QUALITY, exif=exif)


def _read(
    job: Translation, known: PhotoJournal, paths: list[Path], workers: int
) -> Iterator[tuple[Path, list[int], Tensor | ImageError | None]]:
    """Yield each photo's place in the set, stamp, and itself, why not, or None where it is done."""

    def read(source: Path) -> tuple[list[int], Tensor | ImageError | None]:
        stamp = stamp_of(job.data / source)
        if known.current(source.as_posix(), stamp) and (job.output / source).exists():
            return stamp, None
        try:
            return stamp, torch.from_numpy(read_rgb(job.data / source)).permute(2, 0, 1)
        except ImageError as error:
            return stamp, error

    sources = [path.relative_to(job.data) for path in paths]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: deque[tuple[Path, Future]] = deque()
        for source in sources:
            waiting.append((source, pool.submit(read, source)))
            if len(waiting) > READ_AHEAD:
                first, future = waiting.popleft()
                yield first, *future.result()
        for first, future in waiting:
            yield first, *future.result()
