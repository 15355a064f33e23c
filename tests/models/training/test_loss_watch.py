"""A loss that is not finite stops the run with the names of its photos."""

import pytest
import torch

from models.training.loss_watch import LossWatch


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_names_its_photos(value):
    watch = LossWatch()
    watch.see(torch.tensor(1.0, requires_grad=True), ["good"])
    with pytest.raises(FloatingPointError, match=r"on photos p1, p2: lower --lr, or look"):
        watch.see(torch.tensor(value), ["p1", "p2"])
    watch.check()  # told once


@pytest.mark.gpu
def test_on_a_gpu_it_is_told_one_batch_later_and_before_saving():
    watch = LossWatch()
    watch.see(torch.tensor(float("nan"), device="cuda"), ["bad"])
    with pytest.raises(FloatingPointError, match="on photos bad"):
        watch.see(torch.tensor(1.0, device="cuda"), ["good"])
    watch.see(torch.tensor(float("nan"), device="cuda"), ["bad"])
    with pytest.raises(FloatingPointError, match="on photos bad"):
        watch.check()
