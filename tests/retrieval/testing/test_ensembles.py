"""Joined models and scales against loops over plain embedders."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from data.place_sets.photos import PlacePhotos
from data.places import read_places
from data.toy.city import make_toy_city
from data.transforms import normalize
from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import PlaceModel, save_place_model
from retrieval.descriptor_cache import Engine, describe
from retrieval.test import main
from retrieval.testing.crop_voting import CropVoting
from retrieval.testing.ensembles import Joining, joined_model
from retrieval.testing.place_search import SearchSettings, search_places

SIZE = (32, 48)


def make_model(aggregation="gem", seed=0, size=SIZE, **more):
    torch.manual_seed(seed)
    settings = EmbedderSettings(aggregation=aggregation, img_size=32, **more)
    return PlaceModel(Embedder(settings, pretrained=False).eval(), size, {"seed": seed})


@pytest.fixture(scope="module")
def models():
    return [make_model(fc_dim=8, seed=0), make_model(fc_dim=8, seed=1), make_model("spoc", 2)]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    directory = tmp_path_factory.mktemp("town") / "toy"
    make_toy_city(directory, (1, 1), step_m=35.0, queries=6, size=SIZE, night_share=0.5)
    return directory


@pytest.fixture(scope="module")
def paths(town):
    return read_places(town, "test").queries.paths


def own(model, paths):
    """Descriptors of one model, one photo at a time."""
    return describe(model.embedder, PlacePhotos(paths, model.size), engine=Engine(batch=1))[:, 0]


def of_joined(model, paths):
    return describe(model.embedder, PlacePhotos(paths, model.size), engine=Engine(batch=4))[:, 0]


def unit(row):
    length = math.sqrt(sum(value * value for value in row))
    return [value / length for value in row]


@pytest.mark.parametrize("ensemble", ["add", "mean"])
@pytest.mark.parametrize("weights", [(), (3.0, 0.5)])
def test_sums_are_those_of_a_loop(models, paths, ensemble, weights):
    both = models[:2]
    joined = of_joined(joined_model(both, Joining(ensemble, weights)), paths)
    first, second = (own(model, paths).tolist() for model in both)
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        w = weights or (1.0, 1.0)
        expected = unit([w[0] * x + w[1] * y for x, y in zip(unit(a), unit(b), strict=True)])
        np.testing.assert_allclose(joined[row], expected, atol=1e-5)


def test_concatenated_descriptors_have_the_mean_of_the_similarities(models, paths):
    weights = (2.0, 1.0, 0.5)
    joined = joined_model(models, Joining("concat", weights))
    assert joined.embedder.dim == 8 + 8 + models[2].embedder.dim
    found = of_joined(joined, paths)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    apart = [own(model, paths) for model in models]
    for i in range(len(paths)):
        for j in range(len(paths)):
            alike = [float(d[i] @ d[j]) for d in apart]
            expected = sum(w * a for w, a in zip(weights, alike, strict=True)) / sum(weights)
            assert float(found[i] @ found[j]) == pytest.approx(expected, abs=1e-5)


def pixels_of(paths, size):
    photos = PlacePhotos(paths, size)
    return torch.cat([photos[row] for row in range(len(photos))])


def scaled(model, paths, full, factor):
    """Normalised photos read at `full`, resized to the model's size times the factor."""
    size = tuple(round(side * factor) for side in model.size)
    shown = pixels_of(paths, full).float() / 255
    if size != full:
        shown = functional.interpolate(shown, size, mode="bilinear", antialias=True)
    extractor = model.embedder.extractor
    return normalize(shown * 255, extractor.mean, extractor.std)


@pytest.mark.parametrize("join", ["concat", "mean"])
def test_scales_are_described_one_by_one_and_joined(models, paths, join):
    model, scales = models[2], (0.75, 1.0, 1.5)
    joined = joined_model([model], Joining(scales=scales, scale_join=join))
    assert joined.size == (48, 72)
    found = of_joined(joined, paths)
    with torch.inference_mode():
        parts = [model.embedder(scaled(model, paths, (48, 72), s)).numpy() for s in scales]
    for row in range(len(paths)):
        rows = [part[row].tolist() for part in parts]
        flat = [x for part in rows for x in part]
        expected = flat if join == "concat" else [sum(v) for v in zip(*rows, strict=True)]
        np.testing.assert_allclose(found[row], unit(expected), atol=1e-5)


@pytest.mark.parametrize("l2", ["before", "after"])
def test_mean_before_averages_the_maps_at_the_middle_scale(paths, l2):
    model, scales = make_model("gem", 3, (64, 64), l2=l2), (0.5, 1.0)
    joined = joined_model([model], Joining(scales=scales, scale_join="mean_before"))
    found = of_joined(joined, paths)
    assert joined.embedder.dim == model.embedder.dim
    with torch.inference_mode():
        small, whole = (model.embedder.local(scaled(model, paths, (64, 64), s)) for s in scales)
        assert small.shape[2:] == (2, 2)
        assert whole.shape[2:] == (4, 4)
        mean = torch.zeros_like(whole)
        for y in range(4):
            for x in range(4):
                # Bilinear, twice as large: a pixel's middle lies at 1/4 or 3/4 between two.
                rows, columns = (weighted(place) for place in (y, x))
                enlarged = sum(a * b * small[:, :, i, j] for i, a in rows for j, b in columns)
                mean[:, :, y, x] = (enlarged + whole[:, :, y, x]) / 2
        if l2 == "before":
            mean = mean / mean.norm(dim=1, keepdim=True)
        expected = model.embedder.aggregate(mean)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def weighted(place):
    """The two pixels of two that pixel `place` of four lies between, with their weights."""
    middle = min(max((place + 0.5) / 2 - 0.5, 0), 1)
    return [(0, 1 - middle), (1, middle)]


def test_one_model_at_one_scale_is_itself(models):
    assert joined_model(models[:1], Joining()) is models[0]


def test_models_of_other_sizes_see_the_photo_at_theirs(paths):
    small = make_model(seed=0, size=(32, 48), fc_dim=4)
    large = make_model(seed=1, size=(64, 96), fc_dim=4)
    joined = joined_model([small, large], Joining("concat"))
    assert joined.size == (64, 96)
    found = of_joined(joined, paths) * math.sqrt(2)
    with torch.inference_mode():
        expected = small.embedder(scaled(small, paths, (64, 96), 1.0)).numpy()
    np.testing.assert_allclose(found[:, :4], expected, atol=1e-5)
    np.testing.assert_allclose(found[:, 4:], own(large, paths), atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "scales", "wanted"),
    [
        ([(32, 48)], (0.7, 1.0, 1.4), [(80, 80), (112, 112)]),
        ([(32, 48)], (0.5, 1.5), [(40, 40), (120, 120)]),
        ([(64, 96), (32, 48)], (1.0, 1.5), [(120, 120), (80, 80), (60, 60), (40, 40)]),
    ],
)
def test_a_crop_is_seen_at_its_side_at_scale_1(models, paths, tmp_path, sizes, scales, wanted):
    members = [replace(model, size=size) for model, size in zip(models, sizes, strict=False)]
    joined, seen = joined_model(members, Joining(scales=scales)), set()

    def see(_, inputs):
        seen.add(tuple(inputs[0].shape[2:]))

    hooks = [member.embedder.register_forward_pre_hook(see) for member in members]
    settings = SearchSettings("crop_voting", 1, voting=CropVoting(crop_px=80))
    search_places(joined.embedder, paths[:1], paths[:1], joined.size, tmp_path, settings, Engine())
    for hook in hooks:
        hook.remove()
    assert seen >= set(wanted)


def test_what_cannot_be_joined_is_refused(models):
    for ensemble in ("add", "mean"):
        with pytest.raises(ValueError, match="use --ensemble concat"):
            joined_model(models, Joining(ensemble))
    for count in (1, 3):
        with pytest.raises(ValueError, match=f"2 for {count} models"):
            joined_model(models[:count], Joining(weights=(1.0, 2.0)))
    with pytest.raises(ValueError, match="no model"):
        joined_model([], Joining())
    for wrong in ({"ensemble": "max"}, {"scale_join": "sum"}, {"scales": ()}, {"scales": (0.0,)},
                  {"scales": (float("nan"),)}, {"weights": (1.0, -1.0)}):  # fmt: skip
        with pytest.raises(ValueError, match="must"):
            Joining(**wrong)
    with pytest.raises(ValueError, match="no local features"):
        joined_model(models[:2], Joining("mean")).embedder.local(torch.zeros(1, 3, 32, 48))
    vit = make_model("gem", size=(32, 32), backbone="test_vit")
    with pytest.raises(ValueError, match="takes photos of one size"):
        joined_model([vit], Joining(scales=(0.5, 1.0)))


@pytest.fixture(scope="module")
def directories(models, tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name, model in zip("abc", models, strict=True):
        save_place_model(root / name, model.embedder, model.size, model.origin)
    return [str(root / name) for name in "abc"]


def run(town, *more):
    return main(["--data", str(town), "--device", "cpu", "--workers", "1", *more])


def test_the_command_joins_models_and_scales(models, directories, town, tmp_path, capsys):
    joined = ["--model", *directories, "--scales", "0.75", "1", "--scale_join", "mean"]
    assert run(town, *joined, "--ensemble_weights", "1", "2", "1", "--audit") == 0
    out = next((tmp_path / directories[0]).glob("*-test-*"))
    assert out.name == f"{town.name}-test-hard_resize-concat-b-c-mean-0.75-1"
    facts = json.loads((out / "recalls.json").read_text())
    assert (facts["models"], facts["ensemble"], facts["scale_join"]) == (3, "concat", "mean")
    assert facts["ensemble_weights"] == "1 2 1"
    assert facts["dim"] == sum(model.embedder.dim for model in models)
    assert "batch audit passed" in capsys.readouterr().err


def test_the_command_refuses_what_cannot_be_joined(directories, town, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert run(town, "--model", *directories, "--ensemble", "add", *out) == 2
    assert "use --ensemble concat" in capsys.readouterr().err
    assert run(town, "--model", directories[0], "--scales", "-1", *out) == 2
    assert "--scales must lie above 0" in capsys.readouterr().err


def test_joined_with_other_query_methods_and_pca(directories, town, tmp_path):
    for method in ("single_query", "nearest_crop"):
        out = tmp_path / method
        flags = ["--test_method", method, "--pca_dim", "4", "--out", str(out)]
        assert run(town, "--model", *directories[:2], "--ensemble", "mean", *flags) == 0
        assert json.loads((out / "recalls.json").read_text())["dim"] == 4
