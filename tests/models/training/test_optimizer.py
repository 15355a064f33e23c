"""AdamW as a recipe says."""

import pytest
import torch

from models.training.optimizer import Optimizing


def test_it_is_adamw_with_the_schedule(build, photos):
    """Against torch's plain implementation with the rates written by hand."""
    ours, theirs = build("rgb"), build("rgb")
    built = Optimizing(1e-2, 0.1, schedule="constant", warmup_share=0.5).build(ours, 4)
    plain = torch.optim.AdamW(
        [
            {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in theirs.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=1e-2,
        foreach=False,
    )
    for rate in (0.5e-2, 1e-2, 1e-2):
        for group in plain.param_groups:
            group["lr"] = rate
        for model, optimizer in ((ours, built["optimizer"]), (theirs, plain)):
            optimizer.zero_grad()
            model(*photos).cells["fine"].square().mean().backward()
            optimizer.step()
        built["lr_scheduler"]["scheduler"].step()
    assert built["lr_scheduler"]["interval"] == "step"
    # a hundredth of one step: Adam makes much of gradients that are nothing but rounding
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_scaled_gradients_get_the_plain_kernels(build):
    model = build("rgb")
    assert Optimizing().build(model, 4)["optimizer"].defaults["fused"] is True
    assert not Optimizing().build(model, 4, is_scaled=True)["optimizer"].defaults["fused"]


def test_a_bad_setting_is_refused(build):
    with pytest.raises(ValueError, match="schedule must be one of"):
        Optimizing(schedule="steps").build(build("rgb"), 4)
