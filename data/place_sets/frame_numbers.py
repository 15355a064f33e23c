"""Photos of a ride, known by the numbers of their frames.

Two rides along one route, numbered alike, need no positions: a photo shows the place of a query
if their numbers are near. The number is the field pano_id of names with @, as the benchmark's
downloader writes them (`@0@23.8@@@@@10@...@.jpg` is frame 10), else the last number in a name
(`image-00010.png`). Source: Sünderhauf et al., "Are we there yet?", 2013 (Nordland).
"""

import re
from pathlib import Path

import numpy as np

from data.place_sets.names import PlaceName
from data.places import Photos, image_files

_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def read_frames(directory: Path) -> Photos:
    """All photos under a folder, at `(0, frame)` in place of metres; the others are `refused`.

    Raises:
        ValueError: there is no such folder, or two photos have one number.
    """
    if not directory.is_dir():
        raise ValueError(f"no folder {directory}")
    found: dict[int, Path] = {}
    refused: dict[str, str] = {}
    for path in image_files(directory):
        number = frame_of(path.name)
        if number is None:
            refused[path.name] = "no number of a frame in its name"
        elif number in found:
            raise ValueError(f"{found[number]} and {path} are both frame {number}")
        else:
            found[number] = path
    numbers = sorted(found)
    places = np.zeros((len(numbers), 2))
    places[:, 1] = numbers
    return Photos([found[n] for n in numbers], places, np.zeros(len(numbers), np.int64), refused)


def frame_of(name: str) -> int | None:
    """The number of the frame in a file's name; None where there is none."""
    if name.startswith("@"):
        try:
            name = PlaceName.parse(name).pano_id
        except ValueError:
            return None
    else:
        name = name.rpartition(".")[0] or name
    match = _LAST_NUMBER.search(name)
    return int(match[1]) if match else None
