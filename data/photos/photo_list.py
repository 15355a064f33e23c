"""Which photos a run is on, in a line: one that goes on must be on the same.

Photos held out are drawn from the list of all. With one photo more or fewer others would be drawn,
some of which the run has learned from, and "photos it never saw" would be untrue.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def photo_list(paths: Sequence[Path]) -> str:
    """How many photos, and a hash of their names in their order.

    Names count from the folder that holds them all: that may be moved, the photos in it may not.
    """
    whole = [path.absolute() for path in paths]
    folder = os.path.commonpath([path.parent for path in whole]) if whole else ""
    names = b"\0".join(os.fsencode(str(path)[len(folder) :]) for path in whole)
    return f"{len(whole):,} photos (list {hashlib.sha256(names).hexdigest()[:16]})"


def refuse_other_photos(run: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to go on with a run on other photos than it was begun on.

    Args:
        run: Its directory.
        before: What the run's checkpoint says of its photos; name of a part -> `photo_list`.
        now: The same of the photos that there are now.

    Raises:
        ValueError: a part differs; the message says which, and the way out.
    """
    if not before:
        raise ValueError(
            f"{run} was begun by a version that did not note its photos, so that nobody can say "
            "whether they are the same: start anew in another --out"
        )
    changed = [
        f"{part}: {before.get(part, 'not noted')}, now {photos}"
        for part, photos in now.items()
        if before.get(part) != photos
    ]
    if changed:
        raise ValueError(
            f"{run} was begun on other photos ({'; '.join(changed)}): going on, it might be judged "
            "by photos that it has learned from; put them back as they were, or start anew in "
            "another --out"
        )
