"""The loss's settings: defaults, and what they refuse."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from models.losses.settings import IMBALANCE, LossSettings


def test_defaults_are_the_seeds_loss():
    settings = LossSettings()
    assert settings.level_weights == (0.5, 0.3, 0.2)
    assert settings.strength == 0
    plain = json.loads(json.dumps(asdict(settings)))
    assert LossSettings(**{**plain, "level_weights": tuple(plain["level_weights"])}) == settings


@pytest.mark.parametrize("name", IMBALANCE)
def test_a_strength_is_the_one_set_or_the_usual_one(name):
    assert LossSettings(imbalance=name).strength == IMBALANCE[name][0]
    assert LossSettings(imbalance=name, imbalance_strength=0.25).strength == 0.25


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"level_weights": (1.0,)}, "three weights"),
        ({"scene_weight": -1.0}, "0 or more"),
        ({"consistency": float("nan")}, "0 or more"),
        ({"retrieval_weight": float("inf")}, "0 or more"),
        ({"label_smoothing": 1.0}, r"\[0, 1\)"),
        ({"smoothing_km": 0.0}, "more than 0 km"),
        ({"imbalance": "resample"}, "imbalance must be one of none, inverse_frequency"),
        ({"imbalance": "effective_number", "imbalance_strength": 1.0}, r"must lie in \[0, 1\)"),
        ({"imbalance": "focal", "imbalance_strength": -2.0}, "strength of focal"),
        ({"retrieval": "arcface"}, "retrieval must be one of none, multi_similarity, cosface"),
        ({"consistency_direction": "up"}, "consistency_direction must be one of symmetric"),
    ],
)
def test_senseless_settings_are_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        LossSettings(**wrong)


def test_reading_settings_loads_no_torch():
    code = (
        "import sys, models.losses.settings; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
