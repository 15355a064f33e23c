"""The tests that docs/checklist.md names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_named_test_is_there():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs/checklist.md").read_text())
    assert len(named) > 50
    gone = [
        f"{file}::{name}"
        for file, name in named
        if f"\ndef {name}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert not gone
