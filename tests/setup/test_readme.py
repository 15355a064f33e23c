"""The README shows the demo's own figures, and what it names exists."""

import json
import re
from pathlib import Path

import pytest

from setup.readme import DOCS, README, SHOWN, rendered

ROOT = Path(__file__).parents[2]


def test_every_figure_in_the_readme_is_the_demos():
    text = README.read_text()
    assert rendered(text, json.loads((DOCS / "figures.json").read_text())) == text


def test_a_typed_in_figure_would_be_seen():
    text, figures = README.read_text(), json.loads((DOCS / "figures.json").read_text())
    assert rendered(text.replace("of nominal", "of about"), figures) == text


def test_pictures_and_links_exist():
    text = README.read_text()
    for name in SHOWN:
        assert (DOCS / name).is_file()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target


def test_picture_by_line_ten_and_commands_by_line_twenty_five():
    lines = README.read_text().splitlines()
    assert any(line.startswith("![") for line in lines[:10])
    assert {"make demo", "make test"} <= {line.split("  ")[0].strip() for line in lines[:25]}


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^python (?:-m )?(\S+)", README.read_text(), re.MULTILINE)))
)
def test_every_command_shown_is_there(command):
    name = command.removesuffix(".py").replace(".", "/") + ".py"
    assert (ROOT / name).is_file()
