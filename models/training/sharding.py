"""Spread a model's weights over processes, each block for itself (FSDP2).

For models that one GPU cannot hold with gradients and optimiser. Source: Zhao et al., "PyTorch
FSDP: Experiences on Scaling Fully Sharded Data Parallel", VLDB 2023,
https://arxiv.org/abs/2304.11277; torch.distributed.fsdp.fully_shard.
"""

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from models.backbones import TokenBackbone


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shard `model` in place over `mesh` (one dimension); a second call changes nothing.

    Raises:
        ValueError: a scalar is to be trained: it cannot be spread, and nobody would average it.
    """
    if isinstance(model, FSDPModule):
        return
    scalars = {parameter for parameter in model.parameters() if parameter.ndim == 0}
    if any(parameter.requires_grad for parameter in scalars):
        raise ValueError(
            "--strategy fsdp cannot train the retrieval head: take --strategy ddp, or "
            "--retrieval_loss none"
        )
    for module in model.modules():
        if isinstance(module, TokenBackbone):
            for block in module.blocks():
                fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params=scalars)
