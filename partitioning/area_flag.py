"""Rectangles on the command line: `--area W,S,E,N`, west of Greenwich too.

Standard library only: the commands' help imports it.
"""

import re
import sys
from collections.abc import Sequence

FLAGS = ("--area", "--val_area", "--test_area")
_NEGATIVE = re.compile(r"-[\d.]")


def joined_areas(arguments: Sequence[str] | None = None) -> list[str]:
    """Arguments, by default the program's, with `--area -9.2,38.7,-9.1,38.8` joined by a `=`.

    argparse takes a value that begins with a minus for a flag unless it is one plain number.
    """
    joined: list[str] = []
    for argument in sys.argv[1:] if arguments is None else arguments:
        if joined and joined[-1] in FLAGS and _NEGATIVE.match(argument):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined
