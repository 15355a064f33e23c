"""Embedders of all kinds: length one, batch or not, and pairs that do not go together."""

import pytest
import torch
from torch.nn import functional

from models.places.embedder import Embedder, EmbedderSettings
from models.places.local_features import build_extractor

TINY_VIT = "test_vit"  # timm's smallest, for tests


@pytest.fixture(params=["efficientnet_lite0", "resnet18", "test_vit"])
def backbone(request):
    return request.param


@pytest.mark.parametrize("aggregation", ["gem", "netvlad", "rmac"])
def test_descriptors_have_length_one_and_do_not_depend_on_the_batch(backbone, aggregation):
    settings = EmbedderSettings(backbone, aggregation, img_size=64, clusters=4)
    embedder = Embedder(settings, pretrained=False).eval()
    photos = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        together = embedder(photos)
        one = embedder(photos[1:2])
    assert together.shape == (3, embedder.dim)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(one[0], together[1], atol=1e-5, rtol=1e-4)


SLOW_VGG = pytest.param("vgg16", 6, marks=pytest.mark.slow)  # its classifier takes seconds to draw


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "alexnet"])
def test_convolutional_networks_take_photos_of_any_size(name):
    extractor = build_extractor(name, pretrained=False).eval()
    with torch.inference_mode():
        maps = extractor(torch.randn(1, 3, 97, 131)).maps
    assert maps.shape[:2] == (1, extractor.width)
    assert maps.shape[3] > maps.shape[2] > 3


def test_a_cut_at_conv5_halves_the_map():
    photos = torch.randn(1, 3, 128, 128)
    for name in ("resnet18", "efficientnet_lite0"):
        sizes = []
        for cut in ("conv4", "conv5"):
            with torch.inference_mode():
                extractor = build_extractor(name, cut=cut, pretrained=False).eval()
                sizes.append(extractor(photos).maps.shape[2])
        assert sizes == [8, 4]


@pytest.mark.parametrize(("name", "trained"), [("resnet18", 15), ("alexnet", 6), SLOW_VGG])
def test_early_layers_of_the_classic_networks_are_frozen(name, trained):
    extractor = build_extractor(name, pretrained=False)
    assert sum(p.requires_grad for p in extractor.parameters()) == trained
    assert not next(extractor.parameters()).requires_grad


def test_a_vits_patches_as_a_map_lie_where_they_lie_in_the_photo():
    extractor = build_extractor(TINY_VIT, img_size=64, pretrained=False).eval()
    with torch.inference_mode():
        local = extractor(torch.randn(2, 3, 64, 64))
    patches = local.tokens[:, -local.maps[0, 0].numel() :]
    for row in range(local.maps.shape[2]):
        for column in range(local.maps.shape[3]):
            number = row * local.maps.shape[3] + column
            assert torch.equal(local.maps[:, :, row, column], patches[:, number])


def test_where_the_length_is_set():
    torch.manual_seed(0)
    photos = torch.randn(2, 3, 64, 64)

    def describe(l2):
        torch.manual_seed(1)
        settings = EmbedderSettings("resnet18", "spoc", l2=l2, is_unit=False)
        embedder = Embedder(settings, pretrained=False).eval()
        with torch.inference_mode():
            return embedder(photos), embedder.extractor(photos).maps

    plain, maps = describe("none")
    torch.testing.assert_close(plain, maps.mean(dim=(2, 3)))
    torch.testing.assert_close(describe("after")[0], functional.normalize(plain, dim=1))
    expected = functional.normalize(maps, dim=1).mean(dim=(2, 3))
    torch.testing.assert_close(describe("before")[0], expected)


def test_projection_and_attention_change_the_descriptor():
    settings = EmbedderSettings("resnet18", "gem", attention="cbam", fc_dim=12)
    embedder = Embedder(settings, pretrained=False).eval()
    assert embedder(torch.randn(2, 3, 64, 64)).shape == (2, 12)
    assert sum("attention" in name for name, _ in embedder.named_parameters()) == 5


@pytest.mark.parametrize(
    ("backbone", "aggregation"), [("resnet18", "cls"), ("resnet18", "seqpool")]
)
def test_pairs_that_do_not_go_are_refused_with_those_that_do(backbone, aggregation):
    with pytest.raises(ValueError, match=r"it goes with mac, spoc, gem, rmac, netvlad, crn, rrm$"):
        Embedder(EmbedderSettings(backbone, aggregation), pretrained=False)


def test_settings_out_of_range_are_refused():
    for changes, what in (
        ({"l2": "never"}, "l2 must be one of before, after, none"),
        ({"attention": "all"}, "attention must be one of none, cbam, non_local"),
        ({"fc_dim": -1}, "fc_dim"),
        ({"cut": "conv3"}, "cut must be one of conv4, conv5"),
    ):
        with pytest.raises(ValueError, match=what):
            Embedder(EmbedderSettings("resnet18", **changes), pretrained=False)


def test_a_transformer_names_the_photos_it_can_see():
    embedder = Embedder(EmbedderSettings(TINY_VIT, "gem", img_size=64), pretrained=False).eval()
    with pytest.raises(ValueError, match=r"sees photos of 64 x 64 px, not of 64 x 96"):
        embedder(torch.zeros(1, 3, 64, 96))


def test_attention_on_tokens_is_refused_not_ignored():
    settings = EmbedderSettings(TINY_VIT, "cls", attention="cbam", img_size=64)
    with pytest.raises(ValueError, match="'cbam' weighs maps, and aggregation 'cls' reads tokens"):
        Embedder(settings, pretrained=False)
