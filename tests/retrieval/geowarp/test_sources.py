"""What a training of GeoWarp learns from: never a photo of the test."""

import pytest

from data.place_sets.names import PlaceName
from retrieval.geowarp.settings import GeoWarpSettings
from retrieval.geowarp.sources import find_photos
from retrieval.training.recipe import PlaceRecipe

ALONE = GeoWarpSettings(consistency_w=0.0, features_wise_w=0.0)


@pytest.mark.parametrize("settings", [GeoWarpSettings(), ALONE], ids=["pairs", "alone"])
@pytest.mark.parametrize("images", ["images", ""])
def test_photos_of_the_test_are_neither_learned_from_nor_held_out(tmp_path, images, settings):
    for split in ("train", "val", "test"):
        for part in ("database", "queries"):
            folder = tmp_path / images / split / part
            folder.mkdir(parents=True)
            for number in range(2):
                name = PlaceName(395000.0 + number, 4991000.0, 32, "T", note=f"{part}{number}")
                (folder / str(name)).write_bytes(b"")
    found = find_photos(PlaceRecipe(data=str(tmp_path)), settings)
    root = tmp_path / images
    assert {path.relative_to(root).parts[0] for path in found.train} == {"train"}
    assert {path.relative_to(root).parts[:2] for path in found.held_out} == {("val", "database")}
    assert (len(found.train), len(found.held_out)) == (4, 2)
