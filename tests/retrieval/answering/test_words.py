"""An answer for people."""

import pytest

from retrieval.answering.fix import CellGuess, Fix, Match
from retrieval.answering.words import describe, distance


@pytest.mark.parametrize(
    ("km", "text"), [(0.0254, "25 m"), (0.9996, "1000 m"), (1.26, "1.3 km"), (1234.5, "1,234 km")]
)
def test_distances_for_people(km, text):
    assert distance(km) == text


def test_matches_stand_in_their_order_and_notes_at_the_end():
    cells = (CellGuess("47e66c", 0.5, 48.8, 2.3, 9),)
    found = tuple(Match(key, 48.8, 2.3, score, "") for key, score in (("b", 0.7), ("a", 0.9)))
    fix = Fix(48.8, 2.3, 0.025, "street", 0.98, 0.95, True, cells, found, notes=("re-ranked",))
    lines = describe("x.jpg", fix).splitlines()
    assert "within 25 m (a wrong match looks this good in 2% of cases)" in lines[1]
    assert [line.split()[1:3] for line in lines[4:6]] == [["0.700", "b"], ["0.900", "a"]]
    assert lines[-1].split() == ["note", "re-ranked"]
