"""Which licences are open."""

import pytest

from setup.street.licences import OPEN, described, licence_problem


@pytest.mark.parametrize("name", ["CC-BY-SA-4.0", "cc0-1.0", "etalab-2.0", "CC-BY-2.0"])
def test_open_ones(name):
    assert licence_problem(name) == ""
    assert described(name).url.startswith("https://")


@pytest.mark.parametrize(
    "name", ["CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-SA", "all rights reserved"]
)
def test_others(name):
    assert licence_problem(name) == f"not an open licence: {name}"
    assert described(name) == (name, "")


def test_none_at_all():
    assert licence_problem("") == described("").title == "no licence"


def test_none_forbids_changes_or_commerce():
    assert not any({"nc", "nd"} & set(name.split("-")) for name in OPEN)
