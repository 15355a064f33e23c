"""Night copies follow their photos: what is gone goes, what has changed is made again."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from models.translation.model import UnitModel
from models.translation.networks import Translator
from models.translation.settings import UnitSettings
from models.translation.translate import Translation, translate_photos


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = UnitSettings(
        dim=2, residual_blocks=1, discriminator_dim=2, discriminator_layers=2, scales=1, crop=16,
        short_side=16, perceptual_weight=0,
    )  # fmt: skip
    return UnitModel(Translator(settings).eval(), {}, "0" * 64)


@pytest.fixture
def job(tmp_path):
    for number in range(4):
        write(tmp_path / "set" / "images" / f"{number}.png", number)
    return Translation(tmp_path / "set", tmp_path / "night")


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def translate(model, job):
    return translate_photos(model, job, torch.device("cpu"), 1)


def there(job):
    return {path.name: path.read_bytes() for path in (job.output / "images").iterdir()}


def test_a_second_run_follows_the_set(model, job, tmp_path):
    translate(model, job)
    before = there(job)
    times = {path.name: path.stat().st_mtime_ns for path in job.output.rglob("*.png")}
    images = job.data / "images"
    (images / "0.png").unlink()
    write(images / "1.png", 9)  # fetched anew, a face blurred
    (images / "2.png").write_bytes(b"no photo")
    (job.output / "images" / "mine.png").write_bytes(b"mine")
    facts = translate(model, job)
    after = there(job)
    assert set(after) == {"1.png", "3.png", "mine.png"}
    assert after["mine.png"] == b"mine"
    assert after["1.png"] != before["1.png"]
    assert (job.output / "images" / "3.png").stat().st_mtime_ns == times["3.png"]
    anew = Translation(job.data, tmp_path / "anew")
    translate(model, anew)
    assert after["1.png"] == there(anew)["1.png"]
    assert (facts["photos"], facts["removed"]) == (2, 1)
    assert (facts["others"], list(facts["unreadable"])) == (["images/mine.png"], ["images/2.png"])
    assert json.loads((job.output / "provenance.json").read_text()) == facts
    assert translate(model, job)["removed"] == 0


def test_a_kill_leaves_neither_old_photos_nor_any_that_are_on_no_record(model, job, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    translate(model, job)
    photo = job.data / "images" / "0.png"
    write(photo, 9)
    with monkeypatch.context() as patch:
        patch.setattr("models.translation.translate.write_photo", killed)
        with pytest.raises(KeyboardInterrupt):
            translate(model, job)
    assert "0.png" not in there(job)
    translate(model, job)
    assert "0.png" in there(job)
    photo.unlink()
    assert translate(model, job)["removed"] == 1


def test_a_photo_that_was_only_touched_is_made_again(model, job):
    """Its size is the same; nothing but its time tells that it may be another."""
    translate(model, job)
    before = {path.name: path.stat().st_mtime_ns for path in job.output.rglob("*.png")}
    os.utime(job.data / "images" / "3.png", ns=(1, 1))
    translate(model, job)
    after = {path.name: path.stat().st_mtime_ns for path in job.output.rglob("*.png")}
    assert [name for name in after if after[name] != before[name]] == ["3.png"]
