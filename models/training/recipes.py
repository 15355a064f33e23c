"""Runs worth a name: functions that return a `Recipe`, for `train_vit.py --recipe NAME`.

Costs are for MP-16's 4.7 million photos where nothing else is said, and are estimates until a
table in the README shows the run. Figures to reach: % of Im2GPS3k's 2,997 photos within
1 / 25 / 200 / 750 / 2500 km.
"""

from collections.abc import Callable

from models.training.recipe import Recipe


def seed() -> Recipe:
    """ViT-B/16 on photo and segmentation map, fused after every block; three levels, scenes.

    The defaults. About 120 million pairs of photo and map, a day on one H100 with
    `--precision bf16-mixed --compile`, a week without. To reach: 11.8 / 31.1 / 46.7 / 58.9 / 80.1
    (TransLocator, Pramanick et al., ECCV 2022).
    """
    return Recipe()


def modern() -> Recipe:
    """The seed's run on DINOv3 features: layer-wise decay, averaged weights, bf16, compiled.

    Any timm vision transformer goes in by `--backbone` (DINOv2: vit_base_patch14_reg4_dinov2;
    SigLIP, which has no class token: vit_base_patch16_siglip_224 with `--fusion late` or
    `--inputs rgb`); `--lora_rank 16` trains low-rank updates, `--freeze_backbone` the heads only.
    One node of 8 H100, half a day.
    To reach: 17.2 / 42.5 / 58.1 / 74.6 / 87.6, the closest published analogue (S2 hierarchy on
    photo and segmentation).
    """
    return Recipe(
        recipe="modern",
        backbone="vit_base_patch16_dinov3.lvd1689m",
        backbone_args="drop_path_rate=0.1",
        epochs=15,
        batch_size=128,
        lr=4e-4,
        layer_decay=0.75,
        ema=0.9998,
        precision="bf16-mixed",
        compile=True,
        descriptor_dim=512,
        workers=6,
    )


def frozen() -> Recipe:
    """Heads on frozen DINOv2 features: every photo is encoded once, the heads train in minutes.

    Encoding is one forward pass: some two hours for ViT-L on one H100, resumable; then seconds an
    epoch. It gives up augmentation. To beat: a nearest neighbour on the same features, and the
    seed's figures above 200 km; no figure of exactly this run is published.
    """
    return Recipe(
        recipe="frozen",
        backbone="vit_large_patch14_reg4_dinov2.lvd142m",
        inputs="rgb",
        freeze_backbone=True,
        embed_once=True,
        epochs=20,
        batch_size=1024,
        lr=1e-3,
        weight_decay=0.01,
        scene_weight=0.0,
        workers=6,
    )


def tiny() -> Recipe:
    """A small ViT from scratch on 32 px pictures, photo and map: minutes on two cores.

    What the demo trains on tiles of Blue Marble (overhead imagery, not photographs). To reach
    there: about 57% of unseen tiles within 2500 km, 33% within 750 km.
    """
    return Recipe(
        recipe="tiny",
        backbone="vit_tiny_patch16_224",
        backbone_args="patch_size=8,embed_dim=128,depth=4,num_heads=4",
        pretrained=False,
        img_size=32,
        seg_channels=8,
        epochs=8,
        lr=1e-3,
        weight_decay=0.1,
        scene_weight=0.0,
        min_scale=0.6,
        t_coarse=(5, 480),
        t_middle=(5, 120),
        t_fine=(5, 30),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "seed": seed,
    "modern": modern,
    "frozen": frozen,
    "tiny": tiny,
}
