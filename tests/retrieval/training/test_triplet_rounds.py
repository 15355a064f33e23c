"""Which queries are rare."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from data.place_sets.names import PlaceName
from retrieval.training.triplet_rounds import query_weights


def queries(*notes):
    """Photos whose names end with these notes, as far as weights ask."""
    return SimpleNamespace(paths=[Path(str(PlaceName(i, 0, note=n))) for i, n in enumerate(notes)])


def test_rare_queries_weigh_more(capsys):
    weights = query_weights(queries("day", "day", "night", "day_sideways", "day"))
    assert weights[2] > weights[0] == weights[1] == weights[4]
    assert weights[3] > weights[0]
    assert capsys.readouterr().err == ""


def test_names_without_such_notes_are_told(capsys):
    weights = query_weights(queries("", "day", "2019"))
    assert np.ptp(weights) == 0
    assert "no query has night or sideways" in capsys.readouterr().err
