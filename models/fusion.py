"""Class-token fusion between the blocks of two parallel transformers.

After each pair of blocks every branch's class token is replaced by what the branches say
together, while the patch tokens stay with their branch (TransLocator: Pramanick et al., "Where in
the World is this Image?", ECCV 2022, https://arxiv.org/abs/2204.13861, section 3.2; the same form
as CrossViT's fusion):

    class_i <- g_i( mean over present branches j of f_j(class_j) ),      f_j, g_i linear.

The paper sums where we take the mean: the factor is absorbed by `g`, and a branch that is absent
for one photo (a missing segmentation map) then leaves the scale as it was. `f` and `g` start as
the identity, so that pretrained branches are not scrambled at the first step.
"""

import torch
from torch import Tensor, nn


class ClassTokenFusion(nn.Module):
    """One exchange between the class tokens of all branches.

    Args:
        width: length D of a token, the same in every branch.
        num_branches: how many branches exchange tokens.
    """

    def __init__(self, width: int, num_branches: int = 2) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(width, width) for _ in range(num_branches))
        self.back_project = nn.ModuleList(nn.Linear(width, width) for _ in range(num_branches))
        for layer in (*self.project, *self.back_project):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, class_tokens: list[Tensor], present: Tensor) -> list[Tensor]:
        """Exchange class tokens.

        Args:
            class_tokens: one `(B, D)` for each branch.
            present: bool `(B, num_branches)`; a branch absent for a photo has no say in it.
                At least one branch of every photo is present.

        Returns:
            The new class tokens, one `(B, D)` for each branch.
        """
        projected = [layer(token) for layer, token in zip(self.project, class_tokens, strict=True)]
        stacked = torch.stack(projected, dim=1)
        # where(), not a product: an absent branch may hold NaN, and 0 * NaN is NaN
        masked = torch.where(present[:, :, None], stacked, torch.zeros_like(stacked))
        shared = masked.sum(dim=1) / present.sum(dim=1, keepdim=True).to(masked.dtype)
        return [layer(shared) for layer in self.back_project]
