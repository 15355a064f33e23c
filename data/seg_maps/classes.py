"""What the numbers in segmentation maps mean: names and colours of the classes.

They travel in the manifest of a folder of shards, so that a map can be read without the network
that drew it.
"""

import json
from dataclasses import asdict, dataclass

MAX_CLASSES = 256  # a map holds one byte a pixel

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class SegClasses:
    """A table of classes; class number i has name i and colour i.

    Attributes:
        names: Of the classes.
        palette: RGB of each, 0 to 255.
        source: Which network, with which weights, drew the maps.

    Raises:
        ValueError: no class, more than 256, or a colour that is none.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.names) <= MAX_CLASSES:
            raise ValueError(f"{len(self.names)} classes; maps can have 1 to {MAX_CLASSES}")
        if len(self.palette) != len(self.names):
            raise ValueError(f"{len(self.palette)} colours for {len(self.names)} classes")
        for colour in self.palette:
            if len(colour) != 3 or not all(value in range(256) for value in colour):
                raise ValueError(f"{colour} is no RGB colour of three numbers from 0 to 255")

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> str:
        """As text; `from_json` reads it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "SegClasses":
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            given = json.loads(text)
            names = tuple(str(name) for name in given["names"])
            palette = tuple((int(r), int(g), int(b)) for r, g, b in given["palette"])
            return cls(names, palette, str(given.get("source", "")))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a table of segmentation classes: {error}") from None
