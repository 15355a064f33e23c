"""Class-token fusion against a loop over the formula."""

import pytest
import torch

from models.fusion import ClassTokenFusion


def fused_by_loop(fusion, tokens, present):
    """g_i of the mean over present j of f_j, one photo and one branch at a time."""
    rows = [[] for _ in tokens]
    for photo in range(len(present)):
        total, count = torch.zeros(tokens[0].shape[1]), 0
        for j, token in enumerate(tokens):
            if present[photo, j]:
                f = fusion.project[j]
                total = total + f.weight @ token[photo] + f.bias
                count += 1
        for i, g in enumerate(fusion.back_project):
            rows[i].append(g.weight @ (total / count) + g.bias)
    return [torch.stack(row) for row in rows]


@pytest.fixture
def fusion():
    torch.manual_seed(0)
    layer = ClassTokenFusion(width=6, num_branches=2)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def test_matches_a_loop_over_the_formula(fusion):
    tokens = [torch.randn(5, 6), torch.randn(5, 6)]
    present = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [1, 0]]).bool()
    for ours, expected in zip(
        fusion(tokens, present), fused_by_loop(fusion, tokens, present), strict=True
    ):
        torch.testing.assert_close(ours, expected)


def test_starts_as_the_mean_of_the_branches():
    tokens = [torch.randn(4, 6), torch.randn(4, 6)]
    for fused in ClassTokenFusion(6)(tokens, torch.ones(4, 2).bool()):
        torch.testing.assert_close(fused, (tokens[0] + tokens[1]) / 2)


def test_an_absent_branch_has_no_say_even_when_it_is_nan(fusion):
    rgb, seg = torch.randn(2, 6), torch.full((2, 6), float("nan"))
    present = torch.tensor([[True, False], [True, False]])
    for fused in fusion([rgb, seg], present):
        assert fused.isfinite().all()


def test_gradient_reaches_every_layer(fusion):
    tokens = [torch.randn(3, 6), torch.randn(3, 6)]
    sum(t.square().sum() for t in fusion(tokens, torch.ones(3, 2).bool())).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())
