"""Rectangles west of Greenwich reach argparse, which by itself refuses them."""

import argparse

import pytest

from partitioning.area_flag import joined_areas


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", nargs="*")
    parser.add_argument("--area")
    parser.add_argument("--val_area")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(joined_areas(arguments))


def test_a_rectangle_may_begin_with_a_minus():
    found = parsed("a.jpg", "--area", "-0.2,51.4,0.1,51.6", "--val_area", "-.5,1,2,3", "--json")
    assert (found.photos, found.area, found.json) == (["a.jpg"], "-0.2,51.4,0.1,51.6", True)
    assert found.val_area == "-.5,1,2,3"
    assert parsed("--area=-9,38,-8,39").area == "-9,38,-8,39"
    assert parsed("--area", "9,38,10,39").area == "9,38,10,39"


def test_a_forgotten_rectangle_is_still_missed(capsys):
    for arguments in (["--area", "--json"], ["--area"]):
        with pytest.raises(SystemExit):
            parsed(*arguments)
        assert "--area: expected one argument" in capsys.readouterr().err
