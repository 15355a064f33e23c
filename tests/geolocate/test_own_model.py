"""Answers from a gallery that a place model described, and answers that GeoWarp re-ranks."""

import contextlib
import csv
import io
import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from data.place_sets.photos import PlacePhotos
from geolocate import Geolocator, main
from models.geowarp import GeoWarp
from models.places.local_features import build_extractor
from models.places.place_model import load_place_model
from models.warping.file import ExtractorParts, WarpModel, save_geowarp
from retrieval import index
from retrieval.descriptor_cache import describe


@pytest.fixture(scope="module")
def town(bundle, photos, place_model, tmp_path_factory):
    """Those photos where cells of the bundle are, described by the place model."""
    folder = tmp_path_factory.mktemp("town")
    cells = bundle.partition.fine
    with (folder / "photos.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "lat", "lon"])
        rows.writerows(zip([p.name for p in photos], cells.lat, cells.lon, strict=False))
    flags = {"--place_model": place_model, "--images": photos[0].parent, "--workers": 0}
    flags |= {"--csv": folder / "photos.csv", "--gallery": folder / "gallery", "--device": "cpu"}
    assert index.main([str(word) for pair in flags.items() for word in pair]) == 0
    return folder / "gallery"


@pytest.fixture(scope="module")
def own(bundle, town, place_model):
    return Geolocator.load(bundle.path, town, place_model=place_model)


@pytest.fixture(scope="module")
def warp_model(tmp_path_factory):
    """A GeoWarp of random weights."""
    torch.manual_seed(0)
    model = GeoWarp(build_extractor("test_resnet", 32, "conv4", False)).eval()
    nn.init.normal_(model.regression.linear.weight, std=0.03)
    directory = tmp_path_factory.mktemp("warp") / "model"
    parts = ExtractorParts("test_resnet", "conv4", 32)
    save_geowarp(directory, WarpModel(model, parts, (64, 96), {}))
    return directory


@pytest.fixture
def run(bundle):
    """Run the command: exit code, what it printed, what it complained."""

    def call(*words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*map(str, words), "--model", str(bundle.path)])
        return code, out.getvalue(), err.getvalue()

    return call


def test_the_true_place_is_found_where_the_gate_holds_it(own, bundle, photos):
    plain = Geolocator.load(bundle.path)
    found = []
    for photo, token in zip(photos, bundle.partition.fine.tokens, strict=False):
        fix = own.locate(photo, mass=0.5)
        assert fix.cells == plain.locate(photo, mass=0.5).cells, "cells are the bundle's"
        is_inside = str(token) in {cell.token for cell in fix.cells}
        keys = [match.key for match in fix.matches]
        assert (photo.name in keys) == is_inside
        if is_inside:
            assert keys[0] == photo.name
            assert fix.matches[0].score == pytest.approx(1, abs=2e-3)
        found.append(is_inside)
    assert any(found), "the gate holds no place: the test shows nothing"
    assert not all(found), "the gate holds all places: the test shows nothing"


def test_a_query_is_described_as_gallery_photos_are(own, photos, place_model):
    held = load_place_model(place_model)
    expected = describe(held.embedder, PlacePhotos([photos[4]], held.size))[0, 0]
    for photo in (photos[4], photos[4].read_bytes()):
        np.testing.assert_allclose(own.encode(photo).descriptor, expected, atol=1e-5)


def test_a_model_that_did_not_make_the_gallery_is_refused(
    run, photos, gallery, town, place_model, save_tiny_place_model
):
    other = save_tiny_place_model(1)
    for flags, why in (
        (["--gallery", town], "name the place model's folder with --place_model"),
        (["--gallery", gallery, "--place_model", place_model], "leave out --place_model"),
        (["--gallery", town, "--place_model", other], "was built with place model"),
        (["--gallery", town, "--place_model", town], "holds no config.json; a place model is what"),
    ):
        code, out, err = run(photos[0], *flags)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert why in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        ({"place_model": "x"}, "--place_model goes with a gallery"),
        ({"rerank_model": "x", "images": "."}, "name one with --gallery"),
        ({"gallery": "x", "rerank_model": "x"}, "with --images"),
        ({"images": "."}, "name that with --gallery"),
        ({"gallery": "x", "rerank_top": 3}, "goes with --rerank_model"),
        ({"gallery": "x", "rerank_model": "x", "images": "none"}, "no folder none"),
        ({"gallery": "x", "rerank_model": "x", "images": ".", "rerank_top": 1}, "2 or more"),
    ],
)
def test_sources_that_do_not_go_together_are_refused_before_anything_is_loaded(sources, why):
    with pytest.raises(ValueError, match=why):
        Geolocator.load("no such bundle", **sources)


def test_matches_are_re_ranked_and_a_lost_photo_is_told(
    bundle, own, photos, town, place_model, warp_model, tmp_path
):
    images = shutil.copytree(photos[0].parent, tmp_path / "images")
    sources = {"rerank_model": warp_model, "images": images, "rerank_top": 6}
    again = Geolocator.load(bundle.path, town, place_model=place_model, **sources)
    before = own.locate(photos[3], mass=1.0).matches
    after = again.locate(photos[3], mass=1.0)
    assert "the first 6 matches were re-ranked by dense matching" in after.notes
    assert after.matches != before
    assert set(map(repr, after.matches[:6])) == set(map(repr, before[:6])), "scores are kept"
    assert after.matches[6:] == before[6:]

    (images / before[2].path).unlink()
    lost = again.locate(photos[3], mass=1.0)
    assert lost.matches[2] == before[2]
    assert "5 of the first 6 matches were re-ranked by dense matching" in lost.notes
    assert any(note.endswith("the photo of match 3") for note in lost.notes)


def test_a_capped_command_re_ranks_and_names_no_match(
    run, photos, town, place_model, warp_model, tmp_path
):
    images = shutil.copytree(photos[0].parent, tmp_path / "images")
    for photo in photos[4:12]:
        (images / photo.name).unlink()
    flags = ["--gallery", town, "--place_model", place_model, "--mass", 1, "--json"]
    flags += ["--rerank_model", warp_model, "--images", images, "--rerank_top", 24]
    code, out, err = run(photos[3], *flags, "--precision_cap_km", 100)
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert "16 of the first 24 matches were re-ranked by dense matching" in answer["notes"]
    assert answer["matches"] == []
    assert all(photo.name not in out for photo in photos if photo != photos[3])


def test_a_map_shows_the_matches_where_their_photos_are(run, photos, town, place_model, tmp_path):
    flags = ["--gallery", town, "--place_model", place_model, "--mass", 1, "--top_k", 3]
    pictures = []
    for more in ([], ["--images", photos[0].parent]):
        assert run(photos[3], *flags, *more, "--map", tmp_path / "map.html")[0] == 0
        pictures.append((tmp_path / "map.html").read_text().count("data:image/jpeg"))
    assert pictures[1] == pictures[0] + 3


def test_a_bundle_s_gallery_is_re_ranked_too(bundle, gallery, photos, warp_model):
    sources = {"rerank_model": warp_model, "images": photos[0].parent}
    fix = Geolocator.load(bundle.path, gallery, **sources).locate(photos[2], mass=1.0)
    assert "not re-ranked: the photos of 5 of the first 5" in " ".join(fix.notes), "it has no paths"
    assert fix.matches == Geolocator.load(bundle.path, gallery).locate(photos[2], mass=1.0).matches
