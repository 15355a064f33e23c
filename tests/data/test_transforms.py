"""Photo and map get the same geometry; testing agrees with and without torch."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from data.images import crop_square, preprocess
from data.transforms import EvalTransform, TrainTransform, normalize, resize_map, resize_photo


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)


def coordinates(height, width):
    """A photo whose red is the row, green the column (in steps), and a map equal to its red."""
    rows = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    columns = np.broadcast_to(np.linspace(0, 255, width)[None], (height, width))
    photo = np.stack([rows, columns, rows], axis=2).round().astype(np.uint8)
    return tensor(photo), torch.from_numpy(photo[:, :, 0].copy())


@pytest.mark.parametrize("mirror", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("channel", [0, 1])
def test_map_keeps_the_photos_geometry(channel, size, mirror):
    rgb, _ = coordinates(150, 230)
    transform = TrainTransform(size, scale=(0.1, 1.0), mirror=mirror)
    for seed in range(40):
        out, seg = transform(rgb, rgb[channel], generator(seed))
        assert out.shape == (3, size, size)
        assert seg.shape == (size, size)
        assert (out.dtype, seg.dtype) == (torch.uint8, torch.uint8)
        # Nearest and bilinear differ by half a source pixel and, at edges, the filter's width.
        assert (out[channel].int() - seg.int()).abs().float().mean() < 1.5
        rising = bool(out[1, 0, -1] > out[1, 0, 0])
        assert rising == (mirror == 0) or mirror == 0.5


def test_alignment_can_fail():
    """The check above notices a map that is cut elsewhere or not mirrored."""
    rgb, _ = coordinates(150, 230)
    transform = TrainTransform(32, scale=(0.1, 0.4), mirror=1.0)
    out, _ = transform(rgb, None, generator(1))
    _, other = transform(rgb, rgb[1], generator(2))
    assert (out[1].int() - other.int()).abs().float().mean() > 5
    assert (out[1].int() - out[1].flip(-1).int()).abs().float().mean() > 5


def test_map_classes_are_never_mixed():
    seg = torch.from_numpy(np.random.default_rng(0).choice([3, 200], (90, 70)).astype(np.uint8))
    rgb = torch.zeros((3, 90, 70), dtype=torch.uint8)
    for transform in (TrainTransform(33, mirror=0.5), EvalTransform(33)):
        assert set(transform(rgb, seg, generator())[1].unique().tolist()) == {3, 200}


def test_thresholded_photo_stays_its_map(photo):
    pixels = photo(128, 160, 5)
    rgb, seg = tensor(pixels), torch.from_numpy((pixels[:, :, 0] > 128).astype(np.uint8))
    for seed in range(20):
        out, labels = TrainTransform(64, mirror=0.5)(rgb, seg, generator(seed))
        clear = (out[0].int() - 128).abs() > 30  # away from the threshold's edge
        assert ((out[0] > 128) == labels.bool())[clear].all()


def test_mismatched_map_is_refused():
    rgb = torch.zeros((3, 20, 30), dtype=torch.uint8)
    for transform in (TrainTransform(8), EvalTransform(8)):
        with pytest.raises(ValueError, match="photo is 30 x 20 and its segmentation map 20 x 30"):
            transform(rgb, torch.zeros((30, 20), dtype=torch.uint8), generator())


@pytest.mark.parametrize(
    "shape", [(64, 64), (100, 75), (75, 101), (48, 300), (30, 31), (1, 1), (1, 9)]
)
def test_eval_equals_preprocess(shape):
    pixels = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    seg = pixels[:, :, 1].copy()
    for size in (32, 48):
        out, labels = EvalTransform(size)(tensor(pixels), torch.from_numpy(seg))
        ours = normalize(out[None], (0.5, 0.4, 0.3), (0.25, 0.3, 0.2))[0].numpy()
        other = preprocess(pixels, size, mean=(0.5, 0.4, 0.3), std=(0.25, 0.3, 0.2))
        # Torch and Pillow round a byte differently now and then: at most one in 255.
        assert np.abs(ours - other).max() <= 1 / 255 / 0.2 + 1e-5
        assert np.abs(ours - other).mean() < 0.2 / 255 / 0.2
        np.testing.assert_array_equal(labels.numpy(), crop_square(seg, size))


def test_resize_photo_equals_pillow(photo):
    pixels = photo(140, 90)
    expected = np.asarray(Image.fromarray(pixels).resize((56, 56), Image.Resampling.BILINEAR))
    for strided in (tensor(pixels), tensor(pixels).contiguous()):
        ours = resize_photo(strided, 56)
        assert ours.is_contiguous()
        assert np.abs(ours.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_resize_map_equals_torch():
    seg = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (61, 47), dtype=np.uint8))
    expected = functional.interpolate(seg[None, None], (20, 20), mode="nearest-exact")[0, 0]
    assert torch.equal(resize_map(seg, 20), expected)
    assert torch.equal(resize_map(seg, 1), seg[30:31, 23:24])


def test_normalize_from_the_formula():
    batch = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8, generator=generator())
    ours = normalize(batch, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert ours.dtype == torch.float32
    for b in range(2):
        for c, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), strict=True)):
            expected = (batch[b, c].numpy().astype(float) / 255 - mean) / std
            np.testing.assert_allclose(ours[b, c], expected, atol=1e-5)
    assert torch.equal(normalize(batch[:1]), normalize(batch)[:1])
    assert normalize(batch[:0]).shape == (0, 3, 4, 4)


def test_crops_cover_their_ranges():
    transform = TrainTransform(10, scale=(0.2, 0.6), ratio=(0.5, 2.0))
    boxes = [transform.geometry(400, 400, generator(seed)).box for seed in range(600)]
    areas = np.array([b.height * b.width for b in boxes]) / 160_000
    ratios = np.array([b.width / b.height for b in boxes])
    assert areas.min() > 0.17
    assert areas.max() < 0.61
    assert 0.37 < areas.mean() < 0.43
    assert 0.48 < ratios.min() < 0.56
    assert 1.8 < ratios.max() < 2.1
    assert abs(np.log(ratios).mean()) < 0.06
    assert all(b.top >= 0 and b.left >= 0 for b in boxes)
    assert all(b.top + b.height <= 400 and b.left + b.width <= 400 for b in boxes)
    centres = np.array([b.top + b.height / 2 for b in boxes])
    assert 185 < centres.mean() < 215


def test_boxes_are_exact_at_the_decoders_factor():
    transform = TrainTransform(20, scale=(0.05, 1.0))
    factors = set()
    for seed in range(300):
        box, _, factor = transform.geometry(203, 157, generator(seed))
        factors.add(factor)
        small, full = box.divided(factor), box.snapped(factor)
        assert tuple(full) == tuple(edge * factor for edge in small)
        assert min(small.height, small.width) >= 20 or factor == 1
        assert small.top + small.height <= 203 // factor
        assert small.left + small.width <= 157 // factor
    assert factors == {1, 2, 4}


def test_scaled_photo_gives_the_same_crop():
    rgb, _ = coordinates(400, 640)
    small = functional.avg_pool2d(rgb.float(), 2).round().to(torch.uint8)
    transform = TrainTransform(48, scale=(0.3, 1.0), mirror=0.5)
    for seed in range(20):
        geometry = transform.geometry(400, 640, generator(seed))
        assert geometry.factor >= 2
        even = geometry._replace(box=geometry.box.snapped(2))
        full, seg = transform.apply(rgb, rgb[1], even, None)
        half, same = transform.apply(small, rgb[1], geometry, None, factor=2)
        assert (full.int() - half.int()).abs().max() <= 1
        assert torch.equal(seg, same)


def test_jitter_touches_colours_only(photo):
    pixels = tensor(photo(60, 60))
    seg = pixels[0].contiguous()
    plain, labels = TrainTransform(32)(pixels, seg, generator(4))
    same, _ = TrainTransform(32, jitter=0.0)(pixels, seg, generator(4))
    vivid, vivid_labels = TrainTransform(32, jitter=0.4)(pixels, seg, generator(4))
    assert torch.equal(plain, same)
    assert torch.equal(labels, vivid_labels)
    assert (plain.int() - vivid.int()).abs().float().mean() > 2
    correlation = np.corrcoef(plain.flatten().numpy(), vivid.flatten().numpy())[0, 1]
    assert correlation > 0.9
    grey = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    out = TrainTransform(8, jitter=0.5).recolour(grey, generator(1))
    assert (out == out[0, 0, 0]).all(), "of a flat grey only the brightness can change"


def test_same_generator_same_pixels(photo):
    pixels = tensor(photo(80, 90))
    transform = TrainTransform(32, mirror=0.5, jitter=0.3)
    assert torch.equal(
        transform(pixels, None, generator(9))[0], transform(pixels, None, generator(9))[0]
    )
    assert not torch.equal(
        transform(pixels, None, generator(9))[0], transform(pixels, None, generator(10))[0]
    )


def test_settings_are_checked():
    for settings in (
        {"size": 0},
        {"size": 8, "scale": (0, 1)},
        {"size": 8, "scale": (0.9, 0.5)},
        {"size": 8, "ratio": (2, 1)},
        {"size": 8, "mirror": 2},
        {"size": 8, "jitter": -1},
    ):
        with pytest.raises(ValueError, match="must"):
            TrainTransform(**settings)
