"""The street demo's rows: a share of nothing is "none"."""

from setup.demonstration.street_report import share
from setup.demonstration.street_rows import named_shares, share_texts


def test_a_share_of_none_is_none_not_zero():
    assert share(0, 0) == {"hits": 0, "n": 0}
    assert share_texts(share(0, 0)) == ("none", "", "")
    assert share_texts(share(0, 4))[:2] == ("0 of 4", "0%")
    assert share_texts(share(11, 11)) == ("11 of 11", "100%", "74-100")


def test_the_rows_in_their_order():
    figures = {
        "recall": {"1": 1, "5": 2},
        "gate mass": 0.8,
        "recall in the region": {"1": 3},
        "known accepted": 4,
        "accepted and right": 5,
        "unknown refused": 6,
    }
    rows = named_shares(figures)
    assert [value for _, value in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[2][0] == "R@1, inside the region of nominal 80%"
