"""Lists of photos: alike where a folder has moved, another with any photo more, less or renamed."""

from itertools import pairwise
from pathlib import Path

import pytest

from data.photos.photo_list import photo_list, refuse_other_photos

NAMES = ("a/1.jpg", "a/2.jpg", "b/ü.jpg")


def listed(root, *names):
    return photo_list([Path(root) / name for name in names])


def test_a_folder_may_move_and_nothing_else_may_change():
    assert listed("/x", *NAMES) == listed("/some/where", *NAMES) == listed("here", *NAMES)
    assert listed("x", *NAMES).startswith("3 photos (list ")
    others = [
        NAMES, NAMES[:2], (*NAMES, "c.jpg"), NAMES[::-1], ("a/1.jpg", "a/2.jpg", "b/u.jpg"),
        ("a/1.jpga/2.jpg", "b/ü.jpg"), ("1.jpg",), ("2.jpg",), (),
    ]  # fmt: skip
    found = sorted(listed("x", *names) for names in others)
    assert all(one != other for one, other in pairwise(found))


def test_what_changed_is_said_and_the_way_out():
    now = {"photos": "4 photos (list b)", "shares": "c"}
    refuse_other_photos(Path("run"), now | {"more": "than asked"}, now)
    refuse_other_photos(Path("run"), {"photos": "any"}, {})
    with pytest.raises(ValueError, match="photos: not noted, now 4"):
        refuse_other_photos(Path("run"), {"shares": "c"}, now)
    with pytest.raises(ValueError, match="another --out") as refused:
        refuse_other_photos(Path("run"), {"photos": "3 photos (list a)", "shares": "c"}, now)
    told = "run was begun on other photos (photos: 3 photos (list a), now 4 photos (list b)): "
    assert str(refused.value).startswith(told)
    with pytest.raises(ValueError, match=r"did not note its photos.*start anew"):
        refuse_other_photos(Path("run"), {}, now)
