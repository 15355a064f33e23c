"""The rows of `retrieval.compare`: what each method changes, as flags of the house's commands.

A row has a base, the row it is compared with, which differs from it by the one thing its name says.
Rows that train have flags of `retrieval.train`; the others are tested with the model of their base.
Words in braces are filled in: {city}, {plain}, {undistorted} are sets of places, {maps} the city's
segmentation maps, {base} the base's model, {gem} that of the row `gem`, {model} the row's own and
{folder} its folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Step(NamedTuple):
    """A command that comes before a row's training or test.

    Attributes:
        command: A module and its flags.
        toy: Flags besides, on the synthetic town.
        fast: Likewise, on the tiny one.
        run: Folder in the row's whose checkpoints ask for --resume; "" of a command that goes on
            by itself.
    """

    command: str
    toy: str = ""
    fast: str = ""
    run: str = ""


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes:
        about: What it is, in a few words.
        base: The row it is compared with; "" of the first.
        train: Flags of `retrieval.train`; "" takes the base's model.
        toy: Flags that stand in for the recipe's where the synthetic town is trained on.
        prepare: Commands that come first.
        test: Flags of `retrieval.test`.
        toy_test: Further ones on the synthetic town, whose photos are small and few.
        data: The set it is trained and tested on.
        needs: Rows whose models it takes beside its base's.
    """

    about: str
    base: str = ""
    train: str = ""
    toy: str = ""
    prepare: tuple[Step, ...] = ()
    test: str = "--model {model}"
    toy_test: str = ""
    data: str = "{city}"
    needs: tuple[str, ...] = ()


ADAM, SGD = "--lr 5e-4", "--lr 0.02 --lr_step 3"  # of 375 steps in place of 100,000
RESNETVLAD = "--recipe resnetvlad"

METHODS: dict[str, Method] = {
    "gem": Method("ResNet18 conv4, GeM, Adam", "", "--recipe gem", ADAM),
    "netvlad": Method("VGG16, NetVLAD, SGD with step", "gem", "--recipe netvlad", SGD),
    "resnetvlad": Method("ResNet18 conv4, NetVLAD, Adam", "netvlad", RESNETVLAD, ADAM),
    "dynetvlad": Method(
        "resnetvlad, clustered anew at convergence",
        "resnetvlad",
        "--recipe dynetvlad",
        f"{ADAM} --patience 3 --epochs 10",  # room to converge twice; not every run does
    ),
    "+autoencoder": Method(
        "resnetvlad with a decoder to the photo, L2",
        "resnetvlad",
        f"{RESNETVLAD} --autoencoder_weight 0.1",
        ADAM,
    ),
    "plain_crops": Method(
        "resnetvlad, database cut plainly out of panoramas",
        "resnetvlad",
        RESNETVLAD,
        ADAM,
        data="{plain}",
    ),
    "+undistortion": Method(
        "resnetvlad, database undistorted out of the same panoramas",
        "plain_crops",
        RESNETVLAD,
        ADAM,
        data="{undistorted}",
    ),
    "+inpainting": Method(
        "resnetvlad, people and cars painted out",
        "resnetvlad",
        RESNETVLAD,
        ADAM,
        prepare=(
            Step(
                "models.inpainting.train --photos {city}/images/train/database "
                "--out {folder}/painter",
                "--size 96 --width 16 --depth 4 --steps 400 --frozen_steps 100 --save_every 100",
                "--size 32 --width 4 --depth 3 --steps 2 --frozen_steps 1 --features none",
                "painter",
            ),
            Step(
                "setup.inpaint_places --data {city} --maps {maps} --model {folder}/painter "
                "--output {folder}/inpainted"
            ),
        ),
        data="{folder}/inpainted",
    ),
    "+night": Method(
        "resnetvlad, half of the queries turned night in training",
        "resnetvlad",
        f"{RESNETVLAD} --night_augmentation physical",
        ADAM,
    ),
    "+night_copy": Method(
        "resnetvlad, trained on a night copy by UNIT too",
        "resnetvlad",
        f"{RESNETVLAD} --extra_data {{folder}}/night",
        ADAM,
        prepare=(
            Step(
                "models.unit train --day {city}/images/train --night {city}/images/train "
                "--day_note day --night_note night --out {folder}/unit",
                "--dim 12 --discriminator_dim 24 --discriminator_layers 3 --scales 2 "
                "--short_side 96 --crop 64 --lr 2e-4 --minutes 15 --save_every 500 --workers 1",
                "--dim 4 --discriminator_dim 4 --discriminator_layers 2 --scales 1 "
                "--short_side 32 --crop 32 --perceptual_weight 0 --steps 2 --save_every 2",
                "unit",
            ),
            Step(
                "models.unit translate --model {folder}/unit --data {city} --output {folder}/night"
            ),
        ),
    ),
    "+ensemble": Method(
        "resnetvlad and gem, descriptors joined",
        "resnetvlad",
        test="--model {base} {gem} --ensemble concat",
        needs=("gem",),
    ),
    "+multi_scale": Method(
        "resnetvlad, photos seen at three scales",
        "resnetvlad",
        test="--model {base} --scales 0.7 1 1.4",
    ),
    "+geowarp": Method(
        "resnetvlad, first 5 answers re-ranked by GeoWarp",
        "resnetvlad",
        prepare=(
            Step(
                "retrieval.train_geowarp --model {base} --data {city} --out {folder}/warp",
                "--bank 24 --optimizer adam --lr 1e-3 --schedule cosine --epochs 3 "
                "--iterations_per_epoch 100",
                "--epochs 1 --iterations_per_epoch 2 --train_batch 2",
                "warp",
            ),
        ),
        test="--model {base} --rerank geowarp --rerank_model {folder}/warp --rerank_top 5",
    ),
    "+crop_voting": Method(
        "resnetvlad, five crops of each query vote",
        "resnetvlad",
        test="--model {base} --test_method crop_voting",
        toy_test="--crop_px 72 --preds_per_query 10 --preds_per_crop 100",
    ),
    "another_seed": Method(
        "resnetvlad once more: what chance in training does",
        "resnetvlad",
        f"{RESNETVLAD} --seed 1",
        ADAM,
    ),
}
FURTHER = ("plain_crops", "+night_copy", "another_seed")  # UNIT alone wants a quarter of an hour
DEFAULT = tuple(name for name in METHODS if name not in FURTHER)


def with_bases(names: Iterable[str]) -> list[str]:
    """The rows named and all that they stand on, in the registry's order.

    Raises:
        ValueError: unknown name; lists those that there are.
    """
    wanted, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name not in METHODS:
            raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}")
        if name not in wanted:
            wanted.add(name)
            method = METHODS[name]
            waiting += [other for other in (method.base, *method.needs) if other]
    return [name for name in METHODS if name in wanted]


def wanted_sets(names: Iterable[str]) -> set[str]:
    """Names of the sets besides the city that some rows read."""
    methods = [METHODS[name] for name in names]
    texts = [step.command for method in methods for step in method.prepare]
    texts += [method.data for method in methods]
    return {name for name in ("plain", "undistorted", "maps") for t in texts if f"{{{name}}}" in t}
