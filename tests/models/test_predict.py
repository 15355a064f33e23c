"""Prediction over folders and shards: order kept, unreadable photos listed."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from models.bundles.bundle import Bundle
from models.evaluation.calibration import Calibration
from models.predict import Photos, open_photos, predict


class Items(Dataset):
    """Items in memory; the photos numbered in `bad` are unreadable."""

    def __init__(self, photos, bad=()):
        self.rgb, self.seg, self.has_seg = photos
        self.bad = bad

    def __len__(self):
        return len(self.rgb)

    def __getitem__(self, i):
        return {
            "rgb": self.rgb[i],
            "seg": self.seg[i],
            "has_seg": bool(self.has_seg[i]),
            "lat": float(i),
            "lon": float(-i),
            "key": f"p{i}",
            "valid": i not in self.bad,
            "error": f"p{i}: broken" if i in self.bad else "",
        }


@pytest.fixture
def bundle(partition, build, monkeypatch, tmp_path):
    def make(inputs="both"):
        model = build(inputs)
        monkeypatch.setattr("models.predict.load_model", lambda _: model)
        config = {"architecture": model.architecture.as_dict()}
        return Bundle(tmp_path, config, partition, Calibration()), model

    return make


@pytest.mark.parametrize("batch_size", [1, 3, 8, 50])
def test_order_is_kept_and_the_unreadable_are_left_out(batch_size, bundle, photos):
    opened, model = bundle()
    found = predict(opened, Photos(Items(photos, (0, 4, 5)), 0), batch_size, 0, "cpu")
    kept = [1, 2, 3, 6, 7]
    assert found.keys == [f"p{i}" for i in kept]
    assert found.unreadable == ["p0: broken", "p4: broken", "p5: broken"]
    np.testing.assert_array_equal(found.lat, kept)
    np.testing.assert_array_equal(found.lon, [-i for i in kept])
    with torch.inference_mode():
        expected = model(*(tensor[kept] for tensor in photos))
    assert list(found.logits) == ["coarse", "middle", "fine"]
    for level, logits in expected.cells.items():
        np.testing.assert_allclose(found.logits[level], logits, atol=1e-5)
    np.testing.assert_allclose(found.scene, expected.scene, atol=1e-5)
    np.testing.assert_allclose(found.descriptors, expected.descriptor, atol=1e-5)


def test_a_map_only_model_leaves_out_photos_without_maps(bundle, photos):
    found = predict(bundle("seg")[0], Photos(Items(photos, (2,)), 0), 4, 0, "cpu")
    assert found.keys == ["p0", "p4", "p6"]
    expected = [f"p{i}: no segmentation map" for i in (1, 3, 5, 7)]
    assert found.unreadable == [expected[0], "p2: broken", *expected[1:]]


def test_nothing_to_predict(bundle, photos, tmp_path):
    opened, _ = bundle()
    with pytest.raises(ValueError, match="none of the photos can be used: p0: broken; p1"):
        predict(opened, Photos(Items(photos, range(8)), 0), 4, 0, "cpu")
    with pytest.raises(ValueError, match="folder of photos and their table, or shards"):
        open_photos(opened, tmp_path, None, None, None, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(bundle, photos):
    with pytest.raises(ValueError, match="--device cuda: no GPU"):
        predict(bundle()[0], Photos(Items(photos), 0), 4, 0, "cuda")
