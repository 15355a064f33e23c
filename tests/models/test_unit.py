"""UNIT's commands on two made-up sides: bright squares by day, dim blue ones by night."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from data.place_sets.names import PlaceName
from models.translation.model import load_unit
from models.translation.photos import SidePhotos, find_side, random_square, with_short_side
from models.translation.settings import UnitSettings
from models.translation.training import UnitTraining
from models.translation.translate import DESCRIPTION_TAG, translated
from models.unit import main

TINY = [
    *("--dim", "2", "--residual_blocks", "1", "--discriminator_dim", "2", "--crop", "16"),
    *("--discriminator_layers", "2", "--scales", "1", "--short_side", "16", "--workers", "1"),
    *("--perceptual_weight", "0", "--device", "cpu", "--save_every", "2", "--lr", "1e-3"),
]


def picture(random, is_night, size=(16, 20)):
    """Coloured squares; by night a tenth as bright, and blue."""
    squares = random.integers(60, 256, (4, 5, 3)).astype(float)
    if is_night:
        squares = squares * np.array([0.1, 0.1, 0.3])
    small = Image.fromarray(squares.astype(np.uint8))
    return small.resize(size[::-1], Image.Resampling.NEAREST)


def write_side(folder, is_night, count=6, size=(16, 20)):
    random = np.random.default_rng(is_night)
    folder.mkdir(parents=True)
    for number in range(count):
        name = PlaceName(number, 0, note="night" if is_night else "day")
        picture(random, is_night, size).save(folder / str(name), quality=95)
    return folder


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    root = tmp_path_factory.mktemp("sides")
    return {side: write_side(root / side, side == "night") for side in ("day", "night")}


def train(sides, out, *more):
    folders = ["--day", str(sides["day"]), "--night", str(sides["night"]), "--out", str(out)]
    return main(["train", *folders, *TINY, *more])


@pytest.fixture(scope="module")
def whole(sides, tmp_path_factory):
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(sides, out, "--steps", "10") == 0
    return out


def test_what_a_run_leaves(whole):
    model = load_unit(whole)
    assert model.origin == {"step": 10, "day": 6, "night": 6}
    assert not model.translator.training
    rows = list(csv.DictReader((whole / "losses.csv").open()))
    assert [row["step"] for row in rows] == ["10"]
    assert all(np.isfinite(float(value)) for value in rows[0].values())
    sample = Image.open(whole / "samples" / "step0000010.png")
    assert sample.size == (4 * 16, 8 * 16)
    assert "SYNTHETIC" in (whole / "README.md").read_text()
    names = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert names == ["step000000008.ckpt", "step000000010.ckpt"]


def test_killed_and_resumed_is_the_run_that_was_never_stopped(sides, whole, tmp_path, monkeypatch):
    learn = UnitTraining.learn

    def dying(self, photos):
        if self.step == 7:
            raise RuntimeError("killed")
        return learn(self, photos)

    monkeypatch.setattr(UnitTraining, "learn", dying)
    with pytest.raises(RuntimeError, match="killed"):
        train(sides, tmp_path / "run", "--steps", "10")
    monkeypatch.setattr(UnitTraining, "learn", learn)
    assert train(sides, tmp_path / "run", "--steps", "10", "--resume") == 0
    states = [torch.load(folder / "checkpoints" / "step000000010.ckpt")
              for folder in (tmp_path / "run", whole)]  # fmt: skip
    for part in ("translator", "discriminators"):
        for name, weights in states[1][part].items():
            assert torch.equal(states[0][part][name], weights), name
    moments = [state["optimizers"]["translator"]["state"][0]["exp_avg"] for state in states]
    assert torch.equal(*moments)
    lists = [(folder / "losses.csv").read_text() for folder in (tmp_path / "run", whole)]
    assert lists[0] == lists[1]


def test_minutes_end_a_run_which_goes_on(sides, tmp_path):
    assert train(sides, tmp_path / "run", "--minutes", "1e-9", "--steps", "4") == 0
    assert load_unit(tmp_path / "run").origin["step"] == 0
    assert train(sides, tmp_path / "run", "--steps", "2", "--resume") == 0
    assert load_unit(tmp_path / "run").origin["step"] == 2


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_what_was(sides, tmp_path, capsys):
    assert train(sides, tmp_path / "run", "--steps", "2") == 0
    saved = (tmp_path / "run" / "model.safetensors").read_bytes()
    photos = SidePhotos.batch

    def broken(self, step):
        return photos(self, step) * (float("nan") if step == 3 else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SidePhotos, "batch", broken)
        assert train(sides, tmp_path / "run", "--steps", "6", "--resume") == 2
    assert "step 3: discriminator is not finite" in capsys.readouterr().err
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == saved


def test_the_learning_rate_drops_in_steps():
    settings = UnitSettings(**(tiny_settings() | {"lr": 0.8, "lr_step": 3, "lr_drop": 0.5}))
    training = UnitTraining(settings, None, torch.device("cpu"))
    rates = []
    for training.step in range(8):
        rates.append(training.lr)
    assert rates == pytest.approx([0.8] * 3 + [0.4] * 3 + [0.2] * 2)


def test_the_weight_of_the_gan_is_of_the_discriminators_too():
    """As the reference; Adam hides it from the step, not from the gradient."""
    found = []
    photos = {side: torch.rand(1, 3, 16, 16) * 2 - 1 for side in ("day", "night")}
    for weight in (1.0, 3.0):
        settings = UnitSettings(**(tiny_settings() | {"gan_weight": weight}))
        training = UnitTraining(settings, None, torch.device("cpu"))
        losses = training.learn(photos)
        grads = [weights.grad for weights in training.discriminators.parameters()]
        found.append((losses["discriminator"], grads))
    assert found[0][0] == found[1][0]  # listed as it is
    for ours, thrice in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(3 * ours, thrice)


def tiny_settings():
    return UnitSettings(
        dim=2, residual_blocks=1, discriminator_dim=2, discriminator_layers=2, scales=1, crop=16,
        short_side=16, perceptual_weight=0,
    ).plain()  # fmt: skip


def test_every_photo_comes_once_an_epoch_and_an_unreadable_one_is_passed_over(tmp_path):
    settings = UnitSettings(**tiny_settings())
    folder = tmp_path / "day"
    folder.mkdir()
    for number in range(5):
        Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(folder / f"{number}.png")
    photos = SidePhotos("day", find_side(folder), settings)
    reds = [round((float(photos.batch(step)[0, 0, 0, 0]) + 1) * 127.5) for step in range(10)]
    assert sorted(reds[:5]) == sorted(reds[5:]) == [0, 40, 80, 120, 160]
    again = SidePhotos("day", find_side(folder), settings)
    assert torch.equal(again.batch(7), photos.batch(7))  # whatever was read before
    (folder / "2.png").write_bytes(b"no photo")
    spoilt = SidePhotos("day", find_side(folder), settings)
    assert {round((float(spoilt.batch(s)[0, 0, 0, 0]) + 1) * 127.5) for s in range(5)} == {
        0, 40, 120, 160,
    }  # fmt: skip
    assert list(spoilt.refused) == [str(folder / "2.png")]


def test_squares_have_the_asked_size_and_come_from_the_photo():
    settings = UnitSettings(**(tiny_settings() | {"short_side": 20}))
    photo = torch.arange(40 * 60, dtype=torch.int64).remainder(251).to(torch.uint8)
    photo = photo.view(1, 40, 60).repeat(3, 1, 1)
    small = with_short_side(photo, 20)
    assert small.shape == (3, 20, 30)
    windows = {
        small[:, y : y + 16, x : x + 16].flip(-1).numpy().tobytes() if flipped else
        small[:, y : y + 16, x : x + 16].contiguous().numpy().tobytes()
        for y in range(5) for x in range(15) for flipped in (False, True)
    }  # fmt: skip
    seen = {
        random_square(photo, settings, np.random.default_rng(s)).contiguous().numpy().tobytes()
        for s in range(30)
    }
    assert seen <= windows
    assert len(seen) > 10


@pytest.fixture
def places(tmp_path):
    """A set of places by day with one unreadable photo and one in PNG."""
    root = tmp_path / "places" / "images" / "test"
    write_side(root / "database", False, 3, (24, 30))
    write_side(root / "queries", False, 2, (17, 23))
    first = min((root / "queries").iterdir())
    Image.open(first).save(first.with_suffix(".png"))
    min((root / "database").iterdir()).write_bytes(b"no photo")
    return tmp_path / "places"


def test_a_night_copy_has_the_same_names_sizes_and_says_what_it_is(whole, places, tmp_path, capsys):
    out = tmp_path / "places_night"
    command = ["translate", "--model", str(whole), "--data", str(places), "--output", str(out)]
    assert main([*command, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "5 SYNTHETIC night photos" in said.out
    assert "1 photos could not be read" in said.err
    source = {path.relative_to(places) for path in places.rglob("@*")}
    copy = {path.relative_to(out) for path in out.rglob("@*")}
    lost = source - copy
    assert len(lost) == 1
    assert copy < source
    facts = json.loads((out / "provenance.json").read_text())
    assert facts["synthetic"] is facts["complete"] is True
    assert facts["model_sha256"] == load_unit(whole).sha256
    assert (facts["photos"], facts["light"]) == (5, "night")
    assert list(facts["unreadable"]) == [str(next(iter(lost)))]
    for path in copy:
        with Image.open(out / path) as night, Image.open(places / path) as day:
            assert night.size == day.size
            assert night.format == day.format
            assert night.getexif()[DESCRIPTION_TAG].startswith("SYNTHETIC night")


def test_a_stopped_copy_goes_on_and_only_with_the_same_model(
    whole, sides, places, tmp_path, capsys
):
    out = tmp_path / "copy"
    command = ["translate", "--data", str(places), "--output", str(out), "--device", "cpu"]
    assert main([*command, "--model", str(whole)]) == 0
    made = {path: path.stat().st_mtime_ns for path in out.rglob("@*")}
    first = min(made)
    first.unlink()
    assert main([*command, "--model", str(whole)]) == 0
    now = {path: path.stat().st_mtime_ns for path in out.rglob("@*")}
    assert now.keys() == made.keys()
    assert [path for path in made if now[path] != made[path]] == [first]
    assert train(sides, tmp_path / "other", "--steps", "2", "--seed", "5") == 0
    assert main([*command, "--model", str(tmp_path / "other")]) == 2
    assert "made with another model_sha256" in capsys.readouterr().err


def test_what_another_put_in_a_photos_place_is_not_written_over(whole, places, tmp_path, capsys):
    out = tmp_path / "copy"
    command = ["translate", "--data", str(places), "--output", str(out), "--device", "cpu"]
    assert main([*command, "--model", str(whole)]) == 0
    mine = [min(out.rglob("@*")), out / "new.jpg"]
    new = places / "new.jpg"
    new.write_bytes((places / mine[0].relative_to(out)).read_bytes())
    journal = out / "translated.jsonl"
    name = mine[0].relative_to(out).as_posix()
    journal.write_text("".join(
        line for line in journal.read_text().splitlines(keepends=True) if name not in line
    ))  # fmt: skip
    for path in mine:
        path.write_bytes(b"mine")
    assert main([*command, "--model", str(whole)]) == 0
    assert [path.read_bytes() for path in mine] == [b"mine"] * 2
    assert "2 photos in" in capsys.readouterr().err
    facts = json.loads((out / "provenance.json").read_text())
    assert (facts["left_alone"], facts["photos"]) == ([name, "new.jpg"], 4)


def test_a_translation_at_the_learned_size_is_the_networks(whole):
    model = load_unit(whole)
    rgb = torch.from_numpy(np.array(picture(np.random.default_rng(3), False, (16, 20))))
    rgb = rgb.permute(2, 0, 1)
    device = torch.device("cpu")
    with torch.inference_mode():
        found = translated(rgb, model, "night", model.translator, device)
        code = model.translator.encode(rgb[None].float() / 127.5 - 1, "day")
        expected = (model.translator.decode(code, "night")[0] + 1) * 127.5
    assert (found.float() - expected).abs().max() <= 0.5 + 1e-3


def test_refusals_say_what_to_do(sides, whole, places, tmp_path, capsys):
    def error(*arguments):
        assert main(list(arguments)) == 2
        return capsys.readouterr().err

    folders = ["train", "--day", str(sides["day"]), *TINY]
    night, out = ["--night", str(sides["night"])], ["--out", str(tmp_path / "run")]
    assert "no folder" in error(*folders, "--night", str(tmp_path / "no"), *out)
    (tmp_path / "empty").mkdir()
    assert "none of 0 photos" in error(*folders, "--night", str(tmp_path / "empty"), *out)
    assert "with 'dusk' in its name's note" in error(*folders, *night, *out, "--night_note", "dusk")
    (tmp_path / "empty" / "a.jpg").write_bytes(b"no photo")
    assert "none of 1 photos can be read" in error(
        *folders, "--night", str(tmp_path / "empty"), *out
    )
    assert "go on with it by --resume" in error(*folders, *night, "--out", str(whole))
    assert "no checkpoint in" in error(*folders, *night, *out, "--resume")
    again = [*folders, *night, "--out", str(whole), "--resume"]
    assert "dim 2, now 4" in error(*again, "--dim", "4")
    assert "trained on other photos" in error(*again, "--night", str(places))
    copy = ["translate", "--output", str(tmp_path / "copy"), "--device", "cpu"]
    assert "holds no config.json" in error(*copy, "--model", str(tmp_path), "--data", str(places))
    inside = ["translate", "--model", str(whole), "--data", str(places)]
    assert "lies in" in error(*inside, "--output", str(places / "night"), "--device", "cpu")
    assert "no whole provenance.json" in error(*inside, "--output", str(sides["day"]))
    for wrong in (["--steps", "0"], ["--lr", "-1"], ["--crop", "18"], ["--minutes", "nan"]):
        with pytest.raises(SystemExit):
            error(*folders, *night, *out, *wrong)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_translator_is_refused(whole, tmp_path, name):
    for path in ("model.safetensors", "config.json"):
        (tmp_path / path).write_bytes((whole / path).read_bytes())
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    with pytest.raises(ValueError, match=str(tmp_path)):
        load_unit(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_day_moves_towards_night(tmp_path):
    """Two toy sides: after some hundred steps translations have night's mean colours.

    Colours only: nothing in these squares says which of them is which by night. Run by `make slow`;
    a minute.
    """
    sides = {s: write_side(tmp_path / s, s == "night", 24) for s in ("day", "night")}
    flags = ["--dim", "8", "--discriminator_dim", "8", "--lr", "1e-3", "--batch", "2"]
    shown = torch.stack([
        torch.from_numpy(np.array(picture(np.random.default_rng(99 + i), False))).permute(2, 0, 1)
        for i in range(8)
    ])  # fmt: skip
    night = np.array([0.1, 0.1, 0.3]) * 157.5  # mean of night's squares

    def apart(steps, *more):
        """Distance of the translations' mean colour from night's."""
        out = tmp_path / "run"
        assert train(sides, out, *flags, "--save_every", "100", "--steps", steps, *more) == 0
        translator = load_unit(out).translator
        with torch.inference_mode():
            pictures = translator.translate(shown.float() / 127.5 - 1, "day", "night")
        made = (pictures + 1) * 127.5
        return np.abs(made.mean(dim=(0, 2, 3)).numpy() - night).mean()

    before = apart("1")
    assert apart("400", "--resume") < 0.35 * before
