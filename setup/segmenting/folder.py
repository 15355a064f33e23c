"""Segmentation maps of a folder of photos, as a folder of PNGs of the same names.

photos/7f/1a.jpg gets maps/7f/1a.png, where `setup.build_shards --seg maps` and
`test_vit.py --seg maps` find it. Each map is there whole or not at all; a stopped run goes on with
the photos that have none.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from data.images import ImageError, read_bytes
from data.photos.folder_photos import EXTENSIONS
from data.sample import Sample
from data.seg_maps.stored_maps import RECORD
from partitioning.atomic_file import atomic_path
from setup.packing.part_plan import alone
from setup.segmenting.progress import show_photos
from setup.segmenting.record import begin
from setup.segmenting.samples import MapMaker, segmented_samples
from setup.segmenting.shards import UNMAPPED, Drawn


def segment_folder(
    network: MapMaker, images: Path, output: Path, batch: int = 16, replace: bool = False
) -> Drawn:
    """Draw the maps of all photos of a folder and the folders in it.

    Args:
        network: draws them.
        images: folder of photos.
        output: folder of the maps, made if it is not there.
        batch: photos that go through the network at a time.
        replace: remove what maps there are and draw them anew.

    Raises:
        ValueError: there is no photo, two photos would have one map, `output` lies in `images`, or
            another network drew what is there.
        OSError: `output` cannot be written to. What is done stays.
    """
    photos = _photos(images, output)
    with alone(output):
        if replace:
            _clear(output, photos)
        is_unsure = not (output / RECORD).is_file() and any(map(Path.is_file, photos))
        begin(output, network.classes)
        left = {path: photo for path, photo in photos.items() if not path.is_file()}
        unmapped = _draw(network, left, len(photos), batch)
        with atomic_path(output / UNMAPPED) as temporary:
            pd.DataFrame(unmapped, columns=["key", "reason"]).to_csv(temporary, index=False)
    return Drawn(output, len(photos), len(photos) - len(left), len(unmapped), is_unsure)


def _photos(images: Path, output: Path) -> dict[Path, Path]:
    """The photo of each map that is to be there."""
    if not images.is_dir():
        raise ValueError(f"no folder {images}")
    if output.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"{output} lies in {images}, its maps would be taken for photos; move it")
    photos: dict[Path, Path] = {}
    for photo in sorted(images.rglob("*")):
        if photo.suffix not in EXTENSIONS[1:] or not photo.is_file():
            continue
        path = (output / photo.relative_to(images)).with_suffix(".png")
        if path in photos:
            raise ValueError(f"{photos[path]} and {photo} would have one map; rename one of them")
        photos[path] = photo
    if not photos:
        raise ValueError(f"no photo ({', '.join(EXTENSIONS[1:5])}) in {images}")
    return photos


def _clear(output: Path, photos: dict[Path, Path]) -> None:
    """Remove the maps that are to be drawn anew, so that those of two networks never mix."""
    for path in photos:
        path.unlink(missing_ok=True)
    (output / RECORD).unlink(missing_ok=True)


def _draw(
    network: MapMaker, left: dict[Path, Path], total: int, batch: int
) -> list[tuple[str, str]]:
    """Draw and write maps; returns name and reason of each photo without one."""
    unmapped: list[tuple[str, str]] = []
    unreadable: dict[str, str] = {}
    with show_photos(total, total - len(left)) as advance:
        for sample, error in segmented_samples(network, _samples(left, unreadable), batch):
            path = Path(sample.key)
            if sample.seg_png is None:
                unmapped.append((str(left[path]), unreadable.get(sample.key, error)))
            else:
                with atomic_path(path) as temporary:
                    temporary.write_bytes(sample.seg_png)
            advance(1)
    return unmapped


def _samples(photos: dict[Path, Path], unreadable: dict[str, str]) -> Iterator[Sample]:
    """The photos, under the paths of their maps; notes the errors of those without bytes."""
    for path, photo in photos.items():
        try:
            data = read_bytes(photo)
        except ImageError as error:
            data, unreadable[str(path)] = b"", str(error)
        yield Sample(str(path), data, None, {})
