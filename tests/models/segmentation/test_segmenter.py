"""Tiny networks with random weights, saved in the hub's format; transformers itself as oracle."""

import json
import pickle
import shutil

import models.torchvision_cure  # noqa: F401  isort: skip
import numpy as np
import pytest
import torch
import transformers
from transformers import AutoImageProcessor

from models.segmentation.palette import palette
from models.segmentation.segmenter import Segmenter

NAMES = ("road", "sky", "building", "tree", "sea", "roof", "pole")
SIZES = [(61, 47), (64, 64), (30, 101), (128, 33), (5, 7), (61, 47)]


def save_mask2former(folder, names=NAMES):
    pytest.importorskip("scipy", reason="transformers' Mask2Former asks for scipy")
    torch.manual_seed(0)
    backbone = transformers.SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    narrow = dict.fromkeys(("hidden_dim", "feature_size", "mask_feature_size"), 32)
    narrow |= dict.fromkeys(("encoder_feedforward_dim", "dim_feedforward"), 32)
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, encoder_layers=1, decoder_layers=2, num_attention_heads=2,
        num_queries=8, id2label=dict(enumerate(names)), **narrow,
    )  # fmt: skip
    model = transformers.Mask2FormerForUniversalSegmentation(config)
    model.class_predictor.weight.data.normal_(0, 3)  # else its queries agree on one class
    for weights in model.model.transformer_module.decoder.mask_predictor.parameters():
        weights.data.normal_(0, 0.5)
    model.save_pretrained(folder)
    size = {"shortest_edge": 48, "longest_edge": 96}
    transformers.Mask2FormerImageProcessor(size=size, size_divisor=32).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_segformer):
    """The folder of each network, made when it is asked for."""
    mask2former = tmp_path_factory.mktemp("hub") / "mask2former"

    def folder(name):
        if name == "mask2former" and not mask2former.is_dir():
            save_mask2former(mask2former)
        return {"segformer": tiny_segformer, "mask2former": mask2former}[name]

    return folder


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (3, 4, 3), dtype=np.uint8) for _ in SIZES]
    pairs = zip(coarse, SIZES, strict=True)
    return [
        np.kron(c, np.ones((h // 3 + 1, w // 4 + 1, 1), np.uint8))[:h, :w] for c, (h, w) in pairs
    ]


def by_transformers(folder, photo):
    """The map of one photo by nothing but transformers' own calls."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
    with torch.inference_mode():
        outputs = model(**processor(photo, return_tensors="pt"))
    size = [photo.shape[:2]]
    return processor.post_process_semantic_segmentation(outputs, target_sizes=size)[0].numpy()


@pytest.mark.parametrize("name", ["segformer", "mask2former"])
def test_maps_are_those_of_transformers(folders, photos, name):
    drawn = Segmenter.load(str(folders(name)), device="cpu").maps(photos)
    assert [m.shape for m in drawn] == SIZES
    assert all(m.dtype == np.uint8 for m in drawn)
    expected = [by_transformers(folders(name), photo) for photo in photos]
    assert len(np.unique(np.concatenate([m.ravel() for m in expected]))) > 1
    for ours, theirs in zip(drawn, expected, strict=True):
        # Normalising in another order rounds otherwise: a pixel on a border may go either way.
        assert (ours == theirs).mean() >= 0.999


@pytest.mark.parametrize("name", ["segformer", "mask2former"])
def test_a_photo_has_the_same_map_in_any_company(folders, photos, name):
    segmenter = Segmenter.load(str(folders(name)), device="cpu")
    together = segmenter.maps(photos, batch=4)
    for photo, drawn in zip(photos, together, strict=True):
        assert (segmenter.maps([photo])[0] == drawn).mean() >= 0.999


def test_no_photos_no_maps(folders):
    assert Segmenter.load(str(folders("segformer")), "cpu").maps([]) == []


def test_the_classes_are_the_networks(folders):
    classes = Segmenter.load(str(folders("segformer")), "cpu").classes
    assert classes.names == NAMES
    assert classes.palette == palette(NAMES)
    assert classes.source.startswith("segformer SegformerForSemanticSegmentation sha256:")
    assert Segmenter.load(str(folders("segformer")), "cpu").classes == classes


def test_other_weights_are_another_source(folders, tmp_path):
    before = Segmenter.load(str(folders("segformer")), "cpu").classes.source
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(folders("segformer"))
    shutil.copytree(folders("segformer"), tmp_path / "segformer")
    model.decode_head.classifier.bias.data += 1
    model.save_pretrained(tmp_path / "segformer")
    assert Segmenter.load(str(tmp_path / "segformer"), "cpu").classes.source != before


@pytest.fixture
def broken(folders, tmp_path):
    """A copy of the tiny SegFormer with its config.json changed."""

    def make(**changes):
        folder = tmp_path / "broken"
        shutil.copytree(folders("segformer"), folder)
        config = json.loads((folder / "config.json").read_text()) | changes
        config = {name: value for name, value in config.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": None, "label2id": None}, "does not say what its classes are"),
        ({"id2label": {str(i): f"c{i}" for i in range(300)}}, "300 classes"),
        ({"id2label": {"0": "a", "2": "b"}}, "leaves out numbers"),
        ({"architectures": ["SegformerForImageClassification"]}, "not a segmentation network"),
        (
            {"architectures": ["OneFormerForUniversalSegmentation"], "model_type": "oneformer"},
            "not",
        ),
        ({"model_type": "no such thing"}, "cannot be read"),
        ({"id2label": {str(i): f"c{i}" for i in range(9)}}, "lacks 2 of the network"),
    ],
)
def test_configurations_that_cannot_be_used(broken, changes, message):
    with pytest.raises(ValueError, match=message):
        Segmenter.load(str(broken(**changes)), "cpu")


def test_a_missing_folder_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"no folder .*nowhere; give one with a model's files"):
        Segmenter.load(str(tmp_path / "nowhere"), "cpu")
    with pytest.raises(ValueError, match=r"no config\.json"):
        Segmenter.load(str(tmp_path), "cpu")


def test_a_hub_out_of_reach_tells_the_way_out():
    with pytest.raises(ValueError, match=r"cannot be had .*give the folder.*HF_HOME"):
        Segmenter.load("nobody/no-such-model", "cpu")


@pytest.mark.parametrize("name", ["preprocessor_config.json", "model.safetensors"])
def test_missing_files_are_named(broken, name):
    folder = broken()
    (folder / name).unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        Segmenter.load(str(folder), "cpu")


def test_damaged_weights_are_an_error(broken):
    folder = broken()
    (folder / "model.safetensors").write_bytes(b"\xff" * 1000)
    with pytest.raises(ValueError, match="cannot be read"):
        Segmenter.load(str(folder), "cpu")


def test_weights_of_another_network_are_an_error(broken):
    from safetensors.torch import load_file, save_file

    folder = broken()
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if "classifier" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks 2 of the network's"):
        Segmenter.load(str(folder), "cpu")


def test_the_older_weights_file_is_read_as_data(broken, folders):
    folder = broken()
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    ours, theirs = (Segmenter.load(str(f), "cpu") for f in (folder, folders("segformer")))
    assert ours.classes.source.split()[1:] == theirs.classes.source.split()[1:]


def test_a_weights_file_with_code_is_refused_and_not_run(broken, tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path / "owned").write_text, ("x",)

    folder = broken()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Evil()}, 2))
    with pytest.raises(ValueError, match="cannot be read"):
        Segmenter.load(str(folder), "cpu")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there(folders, device):
    with pytest.raises(ValueError, match="--device"):
        Segmenter.load(str(folders("segformer")), device)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["segformer", "mask2former"])
def test_a_gpu_draws_nearly_what_a_processor_draws(folders, photos, name):
    here, there = (Segmenter.load(str(folders(name)), device) for device in ("cpu", "cuda"))
    pairs = zip(here.maps(photos), there.maps(photos), strict=True)
    assert np.mean([(a == b).mean() for a, b in pairs]) > 0.9
