"""Photos encoded once: what the encoder says, in parts that a stopped run keeps."""

import numpy as np
import pytest
import torch

import models.embeddings
from data.synthetic import write_synthetic_shards
from models.embeddings import embed, embed_once, fingerprint
from models.training.photo_module import PhotoModule

T = {"coarse": (2, 40), "middle": (2, 20), "fine": (2, 10)}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_shards(tmp_path_factory.mktemp("data"))


@pytest.fixture
def opened(data):
    module = PhotoModule(data, T, 32, 10, workers=0)
    module.setup("fit")
    return module


@pytest.mark.parametrize("inputs", ["rgb", "both", "seg"])
def test_summaries_are_the_encoders_photo_by_photo(build, opened, tmp_path, inputs, monkeypatch):
    monkeypatch.setattr(models.embeddings, "PART", 13)  # 32 photos: three parts
    encoder, stream = build(inputs).encoder, opened.val_stream
    embedded = embed(encoder, stream, tmp_path / "val", CPU, batch_size=5)
    assert len(list((tmp_path / "val").iterdir())) == 3
    for sample in range(len(stream)):
        photo, stored = stream[sample], embedded[sample]
        inputs_of = [torch.as_tensor(photo[n])[None] for n in ("rgb", "seg", "has_seg")]
        with torch.no_grad():
            expected = encoder(*inputs_of).summary[0]
        torch.testing.assert_close(stored["rgb"], expected, atol=5e-3, rtol=2e-3)
        assert stored.keys() == photo.keys()
        for name in ("has_seg", "scene", "lat", "lon", "key", "index", "valid", "error"):
            assert stored[name] == photo[name], name
        assert torch.equal(stored["cells"], photo["cells"])


def test_a_stopped_run_keeps_the_parts_it_has(build, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(models.embeddings, "PART", 8)
    encoder, encoded = build("rgb").encoder, []
    summaries = models.embeddings._summaries

    def counted(*arguments):
        encoded.append(1)
        if len(encoded) == 3:
            raise OSError(28, "No space left on device")
        return summaries(*arguments)

    monkeypatch.setattr(models.embeddings, "_summaries", counted)
    with pytest.raises(OSError, match="No space left"):
        embed(encoder, opened.val_stream, tmp_path, CPU, batch_size=8)
    assert len(list(tmp_path.iterdir())) == 2
    again = embed(encoder, opened.val_stream, tmp_path, CPU, batch_size=8)
    assert len(encoded) == 3 + 2
    monkeypatch.undo()
    fresh = embed(encoder, opened.val_stream, tmp_path / "fresh", CPU, batch_size=8)
    np.testing.assert_array_equal(again.summaries, fresh.summaries)


def test_an_undecodable_photo_stays_one(build, opened, tmp_path, monkeypatch):
    stream = opened.val_stream
    load = type(stream)._load

    def broken(self, row, seed):
        if row == 3:
            from data.images import ImageError

            raise ImageError("it is cut off")
        return load(self, row, seed)

    monkeypatch.setattr(type(stream), "_load", broken)
    embedded = embed(build("rgb").encoder, stream, tmp_path, CPU)
    item = embedded[3]
    assert (item["valid"], item["scene"], item["cells"].tolist()) == (False, -1, [-1] * 3)
    assert item["key"] in item["error"]
    assert not item["rgb"].any()
    assert all(embedded[i]["valid"] for i in range(len(embedded)) if i != 3)


def test_the_name_changes_with_all_that_matters(build, opened):
    encoder, stream = build("rgb").encoder, opened.val_stream
    names = {fingerprint(encoder, stream, 32), fingerprint(encoder, opened.train_stream, 32)}
    names.add(fingerprint(encoder, stream, 40))
    assert fingerprint(build("rgb").encoder, stream, 32) in names
    with torch.no_grad():
        next(encoder.parameters()).add_(1e-3)
    names.add(fingerprint(encoder, stream, 32))
    assert len(names) == 4


def test_heads_on_summaries_are_the_model_on_photos(build, opened, tmp_path):
    """In evaluation, to half precision: what trains the heads is what the bundle will do."""
    model = build("both")
    photos = next(iter(opened.val_dataloader()))
    inputs = [photos[name] for name in ("rgb", "seg", "has_seg")]
    with torch.no_grad():
        expected = model(*inputs)
        encoder = embed_once(model, opened, tmp_path, CPU)
        batch = next(iter(opened.val_dataloader()))
        found = model(batch["rgb"], batch["seg"], batch["has_seg"])
        assert batch["key"] == photos["key"]
        for level, logits in expected.cells.items():
            torch.testing.assert_close(found.cells[level], logits, atol=1e-2, rtol=1e-2)
        model.encoder = encoder
        assert torch.equal(model(*inputs).scene, expected.scene)
