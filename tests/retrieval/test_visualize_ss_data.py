"""The picture of synthetic views."""

import numpy as np
import pytest
from PIL import Image

from retrieval.visualize_ss_data import COMMON, OF_A, OF_B, main


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.full((60, 90, 3), 235, np.uint8)).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def shares_of(picture):
    """How much of a picture has each of the three colours of quads."""
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3).astype(int)
    colours = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (OF_A, OF_B, COMMON)]
    return [float((np.abs(pixels - colour).max(1) < 12).mean()) for colour in colours]


def test_shows_both_quads_and_what_they_share(photo, tmp_path):
    out = tmp_path / "deep" / "views.png"
    arguments = ["--image_path", str(photo), "--k", "0.75", "--output", str(out)]
    assert main(arguments) == 0
    assert min(shares_of(out)) > 5e-4


def test_refusals_say_what_to_do(photo, tmp_path, capsys):
    out = ["--output", str(tmp_path / "views.png")]
    assert main(["--image_path", str(photo), "--k", "1", *out]) == 2
    assert "k must be 0 or more and below 1, got 1.0" in capsys.readouterr().err
    assert main(["--image_path", str(tmp_path / "none.jpg"), *out]) == 2
    assert "none.jpg" in capsys.readouterr().err
    photo.write_bytes(photo.read_bytes()[:80])
    assert main(["--image_path", str(photo), *out]) == 2
    assert "grey.png" in capsys.readouterr().err
    assert not (tmp_path / "views.png").exists()
