"""Classes of a segmentation network by their names.

Data sets give a class several names: "car, auto, automobile" or "building;edifice". Each of them
finds it, whatever its case.
"""

import re
from collections.abc import Sequence


def class_numbers(
    names: Sequence[str], wanted: Sequence[str], is_all_needed: bool = True
) -> list[int]:
    """The numbers of classes.

    Args:
        names: Of all classes, by number.
        wanted: Names to look for.
        is_all_needed: Refuse a name that no class has; else one that is found will do.

    Raises:
        ValueError: a name, or all of them, are not in the table; lists what is in it.
    """
    known: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        for synonym in {_plain(part) for part in re.split("[,;]", name)}:
            known.setdefault(synonym, []).append(number)
    missing = [name for name in wanted if _plain(name) not in known]
    if len(missing) == len(wanted) or (missing and is_all_needed):
        raise ValueError(
            f"no class is called {' or '.join(missing)}; the table has {', '.join(names)}"
        )
    return sorted({number for name in wanted for number in known.get(_plain(name), [])})


def _plain(name: str) -> str:
    return name.strip().lower()
