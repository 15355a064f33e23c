"""GeoWarp learns from photos alone: small by default, in earnest by `make slow`."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval import geowarp_learning
from retrieval.geowarp_learning import SETTINGS, Learned, learn

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDERS = [REAL / name for name in ("landmarks/img", "streetscapes/perspective", "world/images")]


def test_errors_of_an_untrained_model_are_those_of_no_warping(tmp_path, monkeypatch):
    monkeypatch.setattr(geowarp_learning, "VIEWS", 2)
    random = np.random.default_rng(0)
    for name in "abcde":
        for number in range(2):
            pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{name}_{number}.png")
    few = replace(SETTINGS, epochs=1, iterations_per_epoch=1, train_batch=2, bank=2, lr=0.0)
    learned = learn([tmp_path], tmp_path / "run", few, (32, 32))
    assert (learned.photos, learned.places, learned.pairs) == (2, 1, 4)
    assert learned.error == pytest.approx(learned.identity)
    assert learned.low == pytest.approx(1.0)
    # Another place would draw other places to hold out, of which some have been learned from.
    shutil.copy(tmp_path / "a_0.png", tmp_path / "f_0.png")
    with pytest.raises(ValueError, match=r"other photos \(photos: 10 photos .* now 11 photos"):
        learn([tmp_path], tmp_path / "run", few, (32, 32), resume=True)


def test_the_interval_draws_places():
    places = ["a", "a", "b"]
    ours, identity = np.array([[1.0], [2.0], [5.0]]), np.array([[2.0], [2.0], [10.0]])
    sums = geowarp_learning._sums_by_place(places, ours, identity)
    np.testing.assert_allclose(sums, [[3, 4], [5, 10]])
    told = str(Learned(3, 2, 3, 0.1, 0.25, 0.3, 0.5))
    assert "corner error 0.1000, of no warping 0.2500: 0.40 of it [0.30, 0.50]" in told


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_self_supervision_alone_halves_the_error_on_places_it_never_saw(tmp_path):
    """SYNTHETIC views of real photos. Run by `make slow`; about ten minutes on a quiet core."""
    folders = [folder for folder in FOLDERS if folder.is_dir()]
    if not folders:
        pytest.skip(f"no photos in {REAL}: see its SOURCES.md")
    learned = learn(folders, tmp_path / "run")
    assert learned.error < 0.5 * learned.identity
    assert learned.high < 0.6
