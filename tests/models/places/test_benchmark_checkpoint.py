"""Checkpoints in the public benchmark's format give the descriptors that its own layers give.

The network that a checkpoint is of is written here a second time, from torchvision's layers and the
formulas, with the names that the benchmark's files have.
"""

import models.torchvision_cure  # noqa: F401  isort: skip  (before torchvision)
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from models.places.benchmark_checkpoint import load_benchmark_checkpoint
from models.places.embedder import Embedder, EmbedderSettings


class L2(nn.Module):
    def forward(self, x):
        return functional.normalize(x, dim=1)


class GeM(nn.Module):
    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.ones(1) * 2.7)

    def forward(self, x):
        powers = x.clamp(min=1e-6) ** self.p
        return (powers.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])) ** (1 / self.p)


class NetVLAD(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, 64, 1, bias=False)
        self.centroids = nn.Parameter(torch.rand(64, width))

    def forward(self, x):
        x = functional.normalize(x, dim=1)
        weights = self.conv(x).flatten(2).softmax(dim=1)
        residuals = x.flatten(2)[:, None] - self.centroids[None, :, :, None]
        vlad = functional.normalize((residuals * weights[:, :, None]).sum(dim=-1), dim=2)
        return functional.normalize(vlad.flatten(1), dim=1)


class Theirs(nn.Module):
    def __init__(self, backbone, aggregation, fc_dim=0):
        super().__init__()
        network = torchvision.models.get_model(backbone, weights=None)
        layers = list(network.children())[:-3]
        if not backbone.startswith("resnet"):
            layers = list(network.features.children())[:-2]
        self.backbone = nn.Sequential(*layers)
        width = {"resnet18": 256, "alexnet": 256, "vgg16": 512}[backbone]
        self.aggregation = NetVLAD(width) if aggregation == "netvlad" else None
        if aggregation == "gem":
            self.aggregation = nn.Sequential(L2(), GeM(), nn.Flatten())
        if fc_dim:
            self.aggregation = nn.Sequential(self.aggregation, nn.Linear(width, fc_dim), L2())

    def forward(self, x):
        return self.aggregation(self.backbone(x))


CASES = [
    ("resnet18", "gem", 0),
    ("resnet18", "gem", 32),
    ("resnet18", "netvlad", 0),
    ("alexnet", "gem", 0),
    # Its classifier's 120 million numbers, thrown away, take seconds to draw.
    pytest.param("vgg16", "netvlad", 0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("backbone", "aggregation", "fc_dim"), CASES)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_same_descriptors(tmp_path, backbone, aggregation, fc_dim, prefix):
    if prefix and backbone != "resnet18":
        pytest.skip("the prefix does not depend on the backbone")
    torch.manual_seed(0)
    theirs = Theirs(backbone, aggregation, fc_dim)
    theirs(torch.randn(4, 3, 96, 96))  # moves the running statistics of the batch norms
    state = {prefix + name: value for name, value in theirs.state_dict().items()}
    torch.save({"model_state_dict": state, "epoch_num": 3}, tmp_path / "best_model.pth")
    is_unit = aggregation == "netvlad" or fc_dim > 0
    settings = EmbedderSettings(backbone, aggregation, fc_dim=fc_dim, is_unit=is_unit)
    ours = load_benchmark_checkpoint(
        tmp_path / "best_model.pth", Embedder(settings, pretrained=False)
    )
    photos = torch.randn(2, 3, 96, 128)
    with torch.inference_mode():
        torch.testing.assert_close(ours(photos), theirs.eval()(photos), atol=1e-5, rtol=1e-4)


def test_other_files_are_refused_by_name(tmp_path):
    ours = Embedder(EmbedderSettings("resnet18", "gem"), pretrained=False)
    path = tmp_path / "x.pth"
    for held, what in (
        ({"model_state_dict": {"backbone.0.weight": torch.zeros(2)}}, "weights missing"),
        ({"model_state_dict": {"head.weight": torch.zeros(2)}}, "'head.weight' is no weight"),
        ({"epoch_num": 3}, "holds no model_state_dict"),
        ([1], "holds no model_state_dict"),
        ({"model_state_dict": Theirs("resnet18", "gem", 8).state_dict()}, "2 unknown"),
    ):
        torch.save(held, path)
        with pytest.raises(ValueError, match=what) as error:
            load_benchmark_checkpoint(path, ours)
        assert str(path) in str(error.value)
    path.write_bytes(b"garbage")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_benchmark_checkpoint(path, ours)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_benchmark_checkpoint(tmp_path / "none.pth", ours)
    rmac = Embedder(EmbedderSettings("resnet18", "rmac"), pretrained=False)
    with pytest.raises(ValueError, match="such checkpoints are of alexnet"):
        load_benchmark_checkpoint(path, rmac)


class Code:
    def __reduce__(self):
        return print, ("ran",)


def test_a_checkpoint_cannot_run_code(tmp_path, capsys):
    torch.save({"model_state_dict": {"a": Code()}}, tmp_path / "x.pth")
    ours = Embedder(EmbedderSettings("resnet18", "gem"), pretrained=False)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_benchmark_checkpoint(tmp_path / "x.pth", ours)
    assert capsys.readouterr().out == ""
