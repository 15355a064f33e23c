"""Colours for the classes of a segmentation network, to see its maps by.

Classes of streets that go by the names of Cityscapes (Cordts et al., "The Cityscapes Dataset for
Semantic Urban Scene Understanding", CVPR 2016, https://arxiv.org/abs/1604.01685) have its colours,
which most people in the field read at sight; all others step around the hues.
"""

import colorsys
from collections.abc import Iterator, Sequence
from itertools import count

from data.seg_maps.classes import Colour

CITYSCAPES: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
SAME_AS = {"tree": "vegetation", "grass": "terrain"}  # what ADE20K calls them


def palette(names: Sequence[str]) -> tuple[Colour, ...]:
    """A colour for each class, all different; of "building, edifice" the first name counts."""
    known: dict[Colour, int] = {}
    for number, name in enumerate(names):
        first = name.partition(",")[0].strip().lower()
        colour = CITYSCAPES.get(SAME_AS.get(first, first))
        if colour is not None:
            known.setdefault(colour, number)
    owner = {number: colour for colour, number in known.items()}
    others = _hues(set(CITYSCAPES.values()))
    return tuple(owner.get(number) or next(others) for number in range(len(names)))


def _hues(taken: set[Colour]) -> Iterator[Colour]:
    """Colours that are not taken; hues step by the golden ratio, so that neighbours differ."""
    for i in count():
        floats = colorsys.hsv_to_rgb(i * 0.618034 % 1, (1.0, 0.6)[i % 2], (1.0, 0.7)[i // 2 % 2])
        red, green, blue = (round(255 * value) for value in floats)
        if (red, green, blue) not in taken:
            taken.add((red, green, blue))
            yield red, green, blue
