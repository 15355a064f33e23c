"""Photos, their gallery, and the tiny bundle ready to answer."""

import numpy as np
import pytest
from PIL import Image

from geolocate import Geolocator
from retrieval.gallery import Gallery

GPS = {1: "N", 2: (12.0, 34.0, 56.78), 3: "E", 4: (65.0, 43.0, 21.09)}


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """24 photos, four of each of six looks; the first says in its EXIF where it was taken."""
    directory = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    paths = []
    for i in range(24):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((96, 72), Image.Resampling.NEAREST)
        exif = Image.Exif()
        if i == 0:
            exif[0x8825] = GPS
        paths.append(directory / f"{i}.jpg")
        picture.save(paths[-1], quality=95, exif=exif)
    return paths


@pytest.fixture(scope="session")
def gallery(bundle, photos, tmp_path_factory):
    """Those photos, each where a cell of the model is."""
    locator = Geolocator.load(bundle.path)
    descriptors = np.stack([locator.encode(photo).descriptor for photo in photos])
    cells = bundle.partition.fine
    facts = [{"key": f"k{i}", "author": f"Ann {i}", "licence": "CC0"} for i in range(len(photos))]
    return Gallery.create(
        tmp_path_factory.mktemp("galleries") / "tiny",
        descriptors,
        cells.lat[: len(photos)],
        cells.lon[: len(photos)],
        facts,
        bundle.model_sha256,
    ).directory


@pytest.fixture(scope="session")
def locator(bundle, gallery):
    return Geolocator.load(bundle.path, gallery)
