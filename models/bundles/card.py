"""The model card that goes into every bundle: what the model is, what it was measured to do."""

import json
from typing import Any

import numpy as np

from models.evaluation.calibration import Calibration
from partitioning.partition import Partition

_CARD = """---
library_name: groundfix
pipeline_tag: image-classification
tags:
- image-geolocation
- model_hub_mixin
- pytorch_model_hub_mixin
---

# {name}

A Groundfix geocell model: from a photo it predicts in which cell of the globe it was taken.

| | |
|---|---|
| backbone | {backbone}, input {inputs}, {img_size} px |
| cells | {cells} |
| weights | sha256 {sha} |
| partition | {fingerprint} |
| calibrated on | {photos} validation photos, temperature {temperature} |

## How it came about

{origin}

{settings}
## Files

`models.bundles.hub.from_pretrained` compares a download with these; the same list is in
config.json.

| file | sha256 |
|---|---|
{files}

## Intended use

Research, and placing one's own photos. Regions and radii are statements about photos like the
validation photos; elsewhere they are not.

## Out of scope

Locating people without their consent, surveillance, deciding anything about a person.
See RESPONSIBLE_USE.md of Groundfix.
"""


def model_card(config: dict[str, Any], partition: Partition, calibration: Calibration) -> str:
    """Write the card, Markdown.

    Args:
        config: the bundle's config.json.
        partition: the cells the model predicts.
        calibration: its calibration.
    """
    shape, origin = config["architecture"], dict(config["origin"])
    settings = origin.pop("settings", None)
    counts = shape["num_cells"].items()
    return _CARD.format(
        name=origin.get("name", "Groundfix model"),
        backbone=shape["backbone"],
        inputs=shape["inputs"],
        img_size=shape["img_size"],
        cells=", ".join(f"{count} {level}" for level, count in counts),
        sha=config["model_sha256"],
        fingerprint=partition.fingerprint,
        photos=calibration.photos,
        temperature=" ".join(f"{t:.3f}" for t in np.atleast_1d(calibration.temperature)),
        origin="\n".join(f"- {key}: {value}" for key, value in origin.items()),
        settings=f"\n```json\n{json.dumps(settings, indent=1)}\n```\n" if settings else "",
        files="\n".join(f"| {name} | {sha} |" for name, sha in config.get("files", {}).items()),
    )
