"""The settings of one training run of train_vit.py: a frozen dataclass.

Each setting has its default and its help in one place; models/training/recipe_flags.py makes the
command line of them, models/training/recipes.py holds the runs worth a name. Defaults are the
seed's run: ViT-B/16 on photo and segmentation map, three levels, scenes. Imports nothing heavy.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

LEVEL_NAMES = ("coarse", "middle", "fine")


def setting(
    default: Any,
    help_text: str,
    choices: tuple | None = None,
    least: float | None = None,
    *,
    free: bool = False,
) -> Any:
    """A field with its help.

    Args:
        default: its value in the seed's run.
        help_text: for the command line.
        choices: its values, where they are few.
        least: the least value.
        free: it says where and how to run: a resumed run may have another.
    """
    metadata = {"help": help_text, "choices": choices, "least": least, "free": free}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    recipe: str = setting("seed", "named run whose settings are the defaults of all other flags")
    data: str = setting(
        "",
        "directory or URL with shards in train/ and val/, and perhaps cells.parquet",
        free=True,
    )
    out: str = setting("", "directory of the run; the model bundle is written here", free=True)
    # What it learns from
    s2_cells: str = setting(
        "fine", "finest level of cells to predict; coarser ones are trained with it", LEVEL_NAMES
    )
    single_level: bool = setting(False, "predict the level of --s2_cells only")
    scene_of_interest: int = setting(
        3, "train on indoor (0), natural (1), urban (2) or all photos (3)", (0, 1, 2, 3)
    )
    inputs: str = setting(
        "both", "what the model sees: photo, segmentation map, or both", ("rgb", "seg", "both")
    )
    seg_channels: int = setting(
        3, "3: the map as colours; 0: one-hot, a channel a class of the shards; or their number"
    )
    min_scale: float = setting(0.3, "least share of a photo's area that a training crop keeps")
    t_coarse: tuple[int, ...] = setting(
        (50, 5000), "least and most photos of a coarse cell, where the partition is cut here"
    )
    t_middle: tuple[int, ...] = setting((50, 2000), "least and most photos of a middle cell")
    t_fine: tuple[int, ...] = setting((50, 1000), "least and most photos of a fine cell")
    # The model
    backbone: str = setting(
        "vit_base_patch16_224", "efficientnet_lite0, efficientnet_lite1 or any name timm knows"
    )
    backbone_args: str = setting("", "further arguments of a timm backbone: patch_size=8,depth=6")
    seg_backbone: str = setting("", "what reads the segmentation map, if not the same")
    fusion: str = setting(
        "blocks",
        "photo and map meet after every block, or late: after the last",
        ("blocks", "late"),
    )
    pretrained: bool = setting(True, "start from trained weights")
    freeze_backbone: bool = setting(False, "train the heads only")
    lora_rank: int = setting(
        0,
        "freeze the backbone and train low-rank updates of it (LoRA), e.g. 16; 0 = all of it",
        least=0,
    )
    embed_once: bool = setting(
        False, "encode every photo once, unaugmented, and train the heads on that; one process"
    )
    img_size: int = setting(224, "side of the model's square input, px", least=1)
    descriptor_dim: int = setting(
        0, "length of the retrieval descriptor; 0 = the backbone's width", least=0
    )
    light_heads: bool = setting(
        False, "compute the cells' logits block by block in training: for 100,000 cells"
    )
    # The loss
    level_weights: tuple[float, ...] = setting(
        (0.5, 0.3, 0.2), "weights of the coarse, middle and fine loss"
    )
    scene_weight: float = setting(0.5, "weight of the scene loss; 0 = without scenes", least=0)
    smoothing_km: float = setting(
        0.0, "distance over which a label is spread to neighbouring cells, km; 0 = none", least=0
    )
    label_smoothing: float = setting(0.0, "share of a label spread over all cells", least=0)
    consistency: float = setting(
        0.0, "weight of what keeps the levels' probabilities nested; 0 = none", least=0
    )
    imbalance: str = setting(
        "none",
        "answer to cells of very unequal size, see models/losses/class_balance.py",
        ("none", "inverse_frequency", "effective_number", "logit_adjustment", "focal"),
    )
    retrieval_loss: str = setting(
        "none",
        "loss of the retrieval descriptor over the finest cells; none = it is not trained",
        ("none", "multi_similarity", "cosface"),
    )
    retrieval_weight: float = setting(1.0, "weight of the retrieval loss", least=0)
    # The optimiser
    epochs: int = setting(25, "passes over the training photos", least=1, free=True)
    batch_size: int = setting(64, "photos in a batch of one process", least=1)
    accumulate: int = setting(1, "batches to one step of the optimiser", least=1)
    lr: float = setting(3e-4, "peak learning rate (AdamW)")
    weight_decay: float = setting(0.05, "AdamW's weight decay, not of biases and norms", least=0)
    schedule: str = setting(
        "cosine", "course of the learning rate", ("cosine", "one_cycle", "constant")
    )
    warmup: float = setting(0.05, "share of all steps in which the learning rate climbs", least=0)
    layer_decay: float = setting(
        1.0, "learning rate of a layer in units of the next one's, 1 = the same for all", least=0
    )
    clip: float = setting(1.0, "largest norm of the gradient; 0 = any", least=0)
    ema: float = setting(
        0.0, "weight of the past in the running average of weights, e.g. 0.9998; 0 = none", least=0
    )
    # The machine
    workers: int = setting(
        2, "processes that load photos; 0 = none beside the main one", least=0, free=True
    )
    device: str = setting(
        "auto",
        "auto takes the GPU of --cuda_base where there is one",
        ("auto", "cpu", "cuda"),
        free=True,
    )
    cuda_base: str = setting("cuda:0", "the GPU to train on", free=True)
    device_ids: tuple[int, ...] = setting(
        (0,),
        "GPUs to train on, instead of --cuda_base; under torchrun each process has its own",
        free=True,
    )
    strategy: str = setting(
        "auto",
        "several processes: ddp = a copy of the model each, fsdp = a part each; auto = ddp",
        ("auto", "ddp", "fsdp"),
        free=True,
    )
    num_nodes: int = setting(
        1, "machines of the run; under torchrun it is known", least=1, free=True
    )
    precision: str = setting("32-true", "Lightning's precision, e.g. 32-true or bf16-mixed")
    compile: bool = setting(False, "compile the model first (torch.compile): faster on GPUs")
    # The run
    seed: int = setting(0, "seed of weights, order and augmentation", least=0)
    checkpoint_every_steps: int = setting(
        1000,
        "steps from one checkpoint to the next; 0 = at the end of epochs only",
        least=0,
        free=True,
    )
    select: str = setting(
        "best",
        "the bundle's weights: of the epoch that validated best, the last, or the running average",
        ("best", "last", "ema"),
        free=True,
    )
    resume: bool = setting(False, "go on from the last checkpoint in --out", free=True)
    fast: bool = setting(False, "two steps of a tiny model on synthetic pictures, CPU", free=True)

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels to train, coarse to fine."""
        if self.single_level:
            return (self.s2_cells,)
        return LEVEL_NAMES[: LEVEL_NAMES.index(self.s2_cells) + 1]

    @property
    def thresholds(self) -> dict[str, tuple[int, ...]]:
        """(t_min, t_max) of each level."""
        return dict(zip(LEVEL_NAMES, (self.t_coarse, self.t_middle, self.t_fine), strict=True))

    @property
    def binding(self) -> dict[str, Any]:
        """The settings that a resumed run must share."""
        free = {entry.name for entry in fields(self) if entry.metadata["free"]}
        return {
            name: value for name, value in asdict(self).items() if name not in free | {"recipe"}
        }

    def made_fast(self) -> "Recipe":
        """The same run in the small."""
        return replace(
            self,
            backbone="vit_tiny_patch16_224",
            backbone_args="patch_size=8,embed_dim=24,depth=2,num_heads=2",
            seg_backbone="",
            pretrained=False,
            img_size=32,
            batch_size=16,
            workers=0,
            device="cpu",
            precision="32-true",
            compile=False,
            t_coarse=(2, 40),
            t_middle=(2, 20),
            t_fine=(2, 10),
        )
