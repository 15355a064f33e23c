"""Re-ranking: the order of the scores; what cannot be compared stays, and is told by rank."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.answering.reranking import Reranking, file_within

IMAGES = Path("images")
MAPS = np.zeros((1, 2, 2), np.float32)


class ByNumber:
    """Scores a photo by the number in its name; a name without one cannot be read."""

    def __init__(self):
        self.asked = []

    def maps(self, query):
        return MAPS

    def scores(self, maps, paths):
        self.asked.append(list(paths))
        return np.array([float(p.stem) if p.stem.isdigit() else np.nan for p in paths])


def rerank(*paths, top=5):
    matcher = ByNumber()
    done = Reranking(matcher, IMAGES, top)(MAPS, [{"path": path} for path in paths])
    return done.order.tolist(), done.notes, matcher.asked


def test_the_first_are_sorted_and_the_others_stay():
    order, notes, asked = rerank("1.jpg", "a/7.jpg", "4.jpg", "9.jpg", top=3)
    assert order == [1, 2, 0, 3]
    assert notes == ("the first 3 matches were re-ranked by dense matching",)
    assert asked == [[IMAGES / "1.jpg", IMAGES / "a/7.jpg", IMAGES / "4.jpg"]]


def test_what_cannot_be_compared_stays_in_its_place_and_is_told():
    order, notes, _ = rerank("1.jpg", "no.jpg", "2.jpg", "", "3.jpg")
    assert order == [4, 1, 2, 3, 0]
    assert notes[0] == "3 of the first 5 matches were re-ranked by dense matching"
    assert notes[1].startswith("left in place")
    assert notes[1].endswith("the photo of match 2, 4")
    assert "no.jpg" not in " ".join(notes), "a capped answer would tell the photo by its note"


def test_too_few_to_compare():
    order, notes, _ = rerank("no.jpg", "2.jpg", "none.jpg")
    assert order == [0, 1, 2]
    assert "the photos of 2 of the first 3 matches are not in the folder --images" in notes[0]
    order, notes, asked = rerank("2.jpg")
    assert (order, asked) == ([0], [])
    assert "there are not two matches" in notes[0]


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.jpg", "a/../../b.jpg", "", "a\0.jpg"])
def test_paths_that_lead_out_of_the_folder_are_not_followed(path):
    assert file_within(IMAGES, path) is None
    order, _, asked = rerank("1.jpg", path, "2.jpg")
    assert order == [2, 1, 0]
    assert asked == [[IMAGES / "1.jpg", IMAGES / "2.jpg"]]


def test_a_photo_without_path_is_not_looked_for():
    done = Reranking(ByNumber(), IMAGES, 5)(MAPS, [{"path": None}, {"path": "2.jpg"}, {}])
    assert done.order.tolist() == [0, 1, 2]


def test_an_encoding_without_maps_is_refused():
    with pytest.raises(ValueError, match="encode it again"):
        Reranking(ByNumber(), IMAGES, 5)(None, [{"path": "1.jpg"}])
