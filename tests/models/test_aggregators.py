"""Every aggregator against a loop over its formula, for one photo and eight, on odd sizes."""

import math

import pytest
import torch

from models.aggregators import MAP_AGGREGATORS, TOKEN_AGGREGATORS, build_aggregator
from models.aggregators.netvlad import NetVLAD
from models.aggregators.regional_max import squares

WIDTH = 6
SIZES = [(1, 1), (1, 5), (4, 4), (5, 8), (9, 3)]


@pytest.fixture(params=SIZES, ids=str)
def maps(request):
    return torch.randn(8, WIDTH, *request.param, generator=torch.Generator().manual_seed(0))


def unit(vector):
    length = math.sqrt(sum(x * x for x in vector))
    return [x / max(length, 1e-12) for x in vector]


def places(image):
    """The feature vectors of one map `(D, H, W)`, as lists."""
    return [image[:, i, j].tolist() for i in range(image.shape[1]) for j in range(image.shape[2])]


def test_mac_and_spoc(maps):
    mac, spoc = build_aggregator("mac", WIDTH)(maps), build_aggregator("spoc", WIDTH)(maps)
    for b in range(len(maps)):
        columns = list(zip(*places(maps[b]), strict=True))
        assert mac[b].tolist() == pytest.approx([max(column) for column in columns])
        means = [sum(column) / len(column) for column in columns]
        assert spoc[b].tolist() == pytest.approx(means, abs=1e-6)


def test_gem(maps):
    gem = build_aggregator("gem", WIDTH)(maps)
    for b in range(len(maps)):
        for d, column in enumerate(zip(*places(maps[b]), strict=True)):
            mean = sum(max(x, 1e-6) ** 3 for x in column) / len(column)
            assert gem[b, d].item() == pytest.approx(mean ** (1 / 3), rel=1e-4)


def test_squares_of_a_square_and_of_a_wide_map_are_those_of_the_paper():
    assert squares(6, 6) == [
        (0, 0, 6),
        *[(top, left, 4) for top in (0, 2) for left in (0, 2)],
        *[(top, left, 3) for top in (0, 1, 3) for left in (0, 1, 3)],
    ]
    # 6 x 10: two squares of 6 would share 1 - 4 / 6 = 33%, three 67%: two lie nearest to 40%.
    assert squares(6, 10)[:2] == [(0, 0, 6), (0, 4, 6)]
    turned = {(left, top, side) for top, left, side in squares(6, 10)}
    assert turned == set(squares(10, 6))


@pytest.mark.parametrize(("height", "width"), [(3, 17), (14, 14), (20, 15), (7, 30)])
def test_squares_stay_on_the_map_and_cover_it(height, width):
    covered = torch.zeros(height, width)
    for top, left, side in squares(height, width):
        assert 0 <= top <= height - side
        assert 0 <= left <= width - side
        covered[top : top + side, left : left + side] = 1
    if max(height, width) <= 2 * min(height, width):
        assert covered.all()


def test_rmac(maps):
    rmac = build_aggregator("rmac", WIDTH)(maps)
    height, width = maps.shape[2:]
    for b in range(len(maps)):
        total = unit([max(column) for column in zip(*places(maps[b]), strict=True)])
        for top, left, side in squares(height, width):
            window = maps[b, :, top : top + side, left : left + side]
            found = unit([max(column) for column in zip(*places(window), strict=True)])
            total = [x + y for x, y in zip(total, found, strict=True)]
        assert rmac[b].tolist() == pytest.approx(total, abs=1e-5)


def vlad_by_loop(layer, image, place_weights=None):
    """NetVLAD of one map `(D, H, W)`, as the paper writes it."""
    centroids, logits_of = layer.centroids.tolist(), layer.conv.weight[:, :, 0, 0].tolist()
    sums = [[0.0] * WIDTH for _ in centroids]
    for n, place in enumerate(places(image)):
        x = unit(place)
        logits = [sum(w * v for w, v in zip(row, x, strict=True)) for row in logits_of]
        powers = [math.exp(value - max(logits)) for value in logits]
        for k, centroid in enumerate(centroids):
            weight = powers[k] / sum(powers) * (1 if place_weights is None else place_weights[n])
            for d in range(WIDTH):
                sums[k][d] += weight * (x[d] - centroid[d])
    return unit([value for row in sums for value in unit(row)])


def test_netvlad(maps):
    layer = NetVLAD(WIDTH, clusters=5)
    vlad = layer(maps)
    assert vlad.shape == (8, layer.dim) == (8, 30)
    for b in range(len(maps)):
        assert vlad[b].tolist() == pytest.approx(vlad_by_loop(layer, maps[b]), abs=1e-5)


def test_netvlads_start_weighs_the_nearest_centre_a_hundred_times_the_second():
    generator = torch.Generator().manual_seed(0)
    descriptors = torch.nn.functional.normalize(torch.randn(500, WIDTH, generator=generator), dim=1)
    layer = NetVLAD(WIDTH, clusters=5)
    alpha = layer.start_from(descriptors[:5].clone(), descriptors)
    weights = layer.assign(descriptors[:, :, None, None])[:, :, 0].topk(2, dim=1).values
    # On average over descriptors in the exponent: the geometric mean of the ratios is 100.
    ratio = float((weights[:, 0] / weights[:, 1]).log().mean().exp().detach())
    assert ratio == pytest.approx(100, rel=1e-3)
    gaps = []
    for x in descriptors.tolist():
        dots = sorted(
            sum(a * b for a, b in zip(x, c, strict=True)) for c in descriptors[:5].tolist()
        )
        gaps.append(dots[-1] - dots[-2])
    assert alpha == pytest.approx(-math.log(0.01) / (sum(gaps) / len(gaps)), rel=1e-4)


def test_netvlad_refuses_a_start_that_does_not_fit():
    layer = NetVLAD(WIDTH, clusters=5)
    with pytest.raises(ValueError, match="do not fit"):
        layer.start_from(torch.randn(4, WIDTH), torch.randn(10, WIDTH))
    with pytest.raises(ValueError, match="cluster again"):
        layer.start_from(torch.ones(5, WIDTH), torch.randn(10, WIDTH))


def test_context_reweighting_is_netvlad_with_weighted_places(maps):
    layer = build_aggregator("crn", WIDTH)
    units = torch.nn.functional.normalize(maps, dim=1)
    weights = layer.context(units)
    assert weights.shape == (8, 1, *maps.shape[2:])
    assert (weights >= 0).all()
    ours = layer(maps)
    for b in range(2):
        expected = vlad_by_loop(layer, maps[b], weights[b].flatten().tolist())
        assert ours[b].tolist() == pytest.approx(expected, abs=1e-5)


def test_context_weights_see_their_surroundings():
    context = build_aggregator("crn", WIDTH).context
    maps = torch.randn(1, WIDTH, 12, 12)
    changed = maps.clone()
    changed[:, :, 0, 0] += 10
    moved = (context(maps) - context(changed)).abs()[0, 0]
    assert moved[:6, :6].max() > 1e-3
    assert moved[11, 11] < 1e-6  # beyond the reach of the filters


def test_residual_retrieval(maps):
    layer = build_aggregator("rrm", WIDTH)

    def norm(vector):
        mean = sum(vector) / len(vector)
        variance = sum((x - mean) ** 2 for x in vector) / len(vector)
        return [(x - mean) / math.sqrt(variance + 1e-5) for x in vector]

    def linear(module, vector):
        rows, biases = module.weight.tolist(), module.bias.tolist()
        return [
            sum(w * x for w, x in zip(row, vector, strict=True)) + bias
            for row, bias in zip(rows, biases, strict=True)
        ]

    ours = layer(maps)
    for b in range(len(maps)):
        columns = zip(*places(maps[b]), strict=True)
        x = norm([sum(column) / len(column) for column in columns])
        inner = [max(0.0, value) for value in linear(layer.inner, x)]
        out = norm([a + o for a, o in zip(x, linear(layer.outer, inner), strict=True)])
        assert ours[b].tolist() == pytest.approx(out, abs=1e-4)


def test_class_token_and_seqpool():
    tokens = torch.randn(8, 7, WIDTH)
    assert torch.equal(build_aggregator("cls", WIDTH)(tokens), tokens[:, 0])
    layer = build_aggregator("seqpool", WIDTH)
    ours = layer(tokens)
    w, bias = layer.score.weight[0].tolist(), layer.score.bias.item()
    for b in range(8):
        scores = [sum(p * q for p, q in zip(w, x, strict=True)) + bias for x in tokens[b].tolist()]
        powers = [math.exp(score) for score in scores]
        expected = [
            sum(p * x for p, x in zip(powers, column, strict=True)) / sum(powers)
            for column in zip(*tokens[b].tolist(), strict=True)
        ]
        assert ours[b].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", [*MAP_AGGREGATORS, *TOKEN_AGGREGATORS])
def test_one_photo_is_described_as_among_eight_and_all_is_learned(name):
    layer = build_aggregator(name, WIDTH).eval()
    shape = (8, 11, WIDTH) if name in TOKEN_AGGREGATORS else (8, WIDTH, 5, 7)
    features = torch.randn(shape, requires_grad=True)
    together = layer(features)
    assert together.shape == (8, layer.dim)
    for b in range(8):
        torch.testing.assert_close(layer(features[b : b + 1])[0], together[b])
    (together * torch.randn_like(together)).sum().backward()
    assert features.grad.isfinite().all()
    for parameter_name, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all()
        # A softmax does not see what is added to all of its scores.
        assert parameter.grad.abs().sum() > 0 or parameter_name == "score.bias"


def test_an_unknown_aggregator_is_refused_with_the_list():
    with pytest.raises(ValueError, match="no aggregator 'vlad'; there are mac, spoc, gem"):
        build_aggregator("vlad", WIDTH)
