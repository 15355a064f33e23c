"""GeM pooling against a loop, and its limits."""

import pytest
import torch

from models.gem import DescriptorHead, GeM


def test_matches_a_loop_over_the_formula():
    patches = torch.randn(2, 5, 3)
    ours = GeM(p=2.5)(patches)
    for b in range(2):
        for d in range(3):
            terms = [max(float(patches[b, n, d]), 1e-6) ** 2.5 for n in range(5)]
            assert ours[b, d].item() == pytest.approx((sum(terms) / 5) ** (1 / 2.5), rel=1e-4)


def test_p_one_is_the_mean_and_large_p_tends_to_the_maximum():
    patches = torch.rand(2, 9, 4) + 0.1
    torch.testing.assert_close(GeM(p=1.0)(patches), patches.mean(dim=1))
    torch.testing.assert_close(GeM(p=200.0)(patches), patches.amax(dim=1), rtol=0.02, atol=0)


def test_descriptor_has_length_one_and_order_of_patches_does_not_matter():
    head, patches = DescriptorHead(6, dim=4), torch.randn(3, 7, 6)
    descriptor = head(patches)
    torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(head(patches.flip(1)), descriptor)


def test_p_is_learned():
    head = DescriptorHead(6)
    head(torch.rand(2, 5, 6))[:, 0].sum().backward()
    assert head.pool.p.grad.isfinite()
    assert head.pool.p.grad != 0
