"""Losses of the descriptor against loops over the papers' formulas."""

import math

import pytest
import torch

from models.losses.metric import CosFace, multi_similarity_loss


@pytest.fixture
def descriptors():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(10, 6, generator=generator, dtype=torch.float32)


LABELS = torch.tensor([0, 0, 1, 1, 1, 2, -1, 2, 3, -1])  # 3 has no partner


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def multi_similarity_by_loop(descriptors, labels, alpha, beta, base, margin):
    rows, labels = descriptors.tolist(), labels.tolist()
    known = [i for i, label in enumerate(labels) if label >= 0]
    total = 0.0
    for i in known:
        positives = [cosine(rows[i], rows[k]) for k in known if labels[k] == labels[i] and k != i]
        negatives = [cosine(rows[i], rows[k]) for k in known if labels[k] != labels[i]]
        if margin is not None:
            if not (positives and negatives):
                continue
            highest, lowest = max(negatives), min(positives)
            positives = [s for s in positives if s < highest + margin]
            negatives = [s for s in negatives if s > lowest - margin]
        total += math.log(1 + sum(math.exp(-alpha * (s - base)) for s in positives)) / alpha
        total += math.log(1 + sum(math.exp(beta * (s - base)) for s in negatives)) / beta
    return total / len(known) if known else 0.0


@pytest.mark.parametrize("margin", [None, 0.0, 0.1, 0.7])
@pytest.mark.parametrize(("alpha", "beta", "base"), [(2, 50, 0.5), (1, 10, 0.0)])
def test_multi_similarity_matches_a_loop(descriptors, margin, alpha, beta, base):
    ours = multi_similarity_loss(descriptors, LABELS, alpha, beta, base, margin)
    expected = multi_similarity_by_loop(descriptors, LABELS, alpha, beta, base, margin)
    assert ours.item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0


def test_the_length_of_a_descriptor_does_not_count(descriptors):
    scaled = descriptors * torch.linspace(0.1, 9, 10)[:, None]
    torch.testing.assert_close(
        multi_similarity_loss(scaled, LABELS), multi_similarity_loss(descriptors, LABELS)
    )


@pytest.mark.parametrize(
    "labels",
    [[-1] * 10, [4] * 10, list(range(10)), [-1] * 9 + [2]],
    ids=["none", "one", "all", "lone"],
)
def test_without_a_pair_it_is_zero_and_so_is_its_gradient(descriptors, labels):
    leaf = descriptors.clone().requires_grad_()
    loss = multi_similarity_loss(leaf, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))
    empty = torch.zeros(0, 6, requires_grad=True)
    multi_similarity_loss(empty, torch.zeros(0, dtype=torch.int64)).backward()


def test_an_unlabelled_photo_changes_nothing(descriptors):
    changed = descriptors.clone()
    changed[6] = descriptors[0]
    torch.testing.assert_close(
        multi_similarity_loss(changed, LABELS), multi_similarity_loss(descriptors, LABELS)
    )
    face = CosFace(4, 6)
    torch.testing.assert_close(face(changed, LABELS), face(descriptors, LABELS))


def test_gradients_are_finite_where_descriptors_coincide(descriptors):
    leaf = descriptors[[0, 0, 0, 1]].clone().requires_grad_()
    multi_similarity_loss(leaf, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad.any()


def test_descending_brings_places_together(descriptors):
    leaf = descriptors.clone().requires_grad_()
    optimizer = torch.optim.SGD([leaf], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        multi_similarity_loss(leaf, LABELS).backward()
        optimizer.step()

    def gaps(of):
        """By how much each photo is more like its own place than like another."""
        unit = torch.nn.functional.normalize(of, dim=1)
        similarity = (unit @ unit.T).tolist()
        known = [i for i in range(8) if i != 6]
        for i in known:
            own = [similarity[i][k] for k in known if LABELS[k] == LABELS[i] and k != i]
            yield min(own) - max(similarity[i][k] for k in known if LABELS[k] != LABELS[i])

    assert min(gaps(descriptors)) < 0
    assert min(gaps(leaf.detach())) > 0.05


def cosface_by_loop(descriptors, weight, labels, scale, margin):
    terms = []
    for row, label in zip(descriptors.tolist(), labels.tolist(), strict=True):
        if label < 0:
            continue
        cosines = [cosine(row, vector) for vector in weight.tolist()]
        own = math.exp(scale * (cosines[label] - margin))
        others = sum(math.exp(scale * c) for j, c in enumerate(cosines) if j != label)
        terms.append(-math.log(own / (own + others)))
    return sum(terms) / len(terms)


@pytest.mark.parametrize(("scale", "margin"), [(30.0, 0.4), (64.0, 0.35), (1.0, 0.0)])
def test_cosface_matches_a_loop(descriptors, scale, margin):
    torch.manual_seed(0)
    face = CosFace(4, 6, scale, margin)
    expected = cosface_by_loop(descriptors, face.weight, LABELS, scale, margin)
    assert face(descriptors, LABELS).item() == pytest.approx(expected, rel=1e-5)
    one = face(descriptors[3:4], LABELS[3:4]).item()
    assert one == pytest.approx(
        cosface_by_loop(descriptors[3:4], face.weight, LABELS[3:4], scale, margin),
        rel=1e-5,
        abs=1e-6,
    )


def test_cosface_without_labels_is_zero_with_a_gradient(descriptors):
    face, leaf = CosFace(4, 6), descriptors.clone().requires_grad_()
    loss = face(leaf, torch.full((10,), -1))
    loss.backward()
    assert loss.item() == 0
    assert not leaf.grad.any()
    assert not face.weight.grad.any()


def test_cosface_learns_its_class_vectors(descriptors):
    face = CosFace(4, 6)
    face(descriptors, LABELS).backward()
    assert torch.isfinite(face.weight.grad).all()
    assert face.weight.grad.any()
