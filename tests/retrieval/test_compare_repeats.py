"""Comparisons trained again, beside the first."""

import csv
import json

import pytest

from retrieval.comparing.repeats import Repeat, read_repeat, read_repeats, repeats_section
from retrieval.comparing.table import Gain, Row


def row(name, val, test):
    gains = {
        split: {"R@1": Gain(points, 0, 0), "R_avg": Gain(9, 0, 0)}
        for split, points in (("val", val), ("test", test))
    }
    return Row(name, gains=gains)


def test_gains_stand_beside_and_keep_their_side_or_not():
    rows = [Row("gem"), row("netvlad", 10, 8), row("+night", 1, -2), row("+crop_voting", -9, -8)]
    again = Repeat("again (--seed 1)", {
        "netvlad": {"val": 4.0, "test": 2.0}, "+night": {"val": 3.0, "test": 4.0},
    })  # fmt: skip
    more = Repeat("more", {"+crop_voting": {"val": -1.0, "test": -2.0}})
    text = repeats_section(rows, [again, more])
    assert "| method | against | here | again (--seed 1) | more |" in text
    assert "| netvlad | gem | +10.0, +8.0 | +4.0, +2.0 |  | +5.0, +2.0 to +8.0 |" in text
    assert "| +night | resnetvlad | +1.0, -2.0 | +3.0, +4.0 |  | +1.0, -2.0 to +4.0 |" in text
    assert "- Gains in every training, on val and on test: netvlad." in text
    assert "- Losses in every training, on val and on test: +crop_voting." in text
    assert "- Now a gain, now a loss or none: +night." in text


def write(folder, rows, flags="--seed 1"):
    folder.mkdir()
    with (folder / "comparison.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    (folder / "study.json").write_text(json.dumps({"train_flags": flags}))
    return folder


def test_a_folder_is_read(tmp_path):
    names = ("method", "val R@1 gain points", "test R@1 gain points")
    rows = [
        dict(zip(names, values, strict=True)) for values in (("gem", "", ""), ("netvlad", 4, -1.5))
    ]
    found = read_repeat(write(tmp_path / "again", rows))
    assert found == Repeat("again (--seed 1)", {"netvlad": {"val": 4.0, "test": -1.5}})
    assert read_repeat(write(tmp_path / "plain", rows, "")).name == "plain"


def test_only_further_flags_may_differ(tmp_path):
    rows = [{"method": "netvlad", "val R@1 gain points": 1, "test R@1 gain points": 2}]
    ours, again, other = (write(tmp_path / name, rows) for name in ("ours", "again", "other"))
    assert [repeat.name for repeat in read_repeats([again], ours)] == ["again (--seed 1)"]
    (other / "study.json").write_text(json.dumps({"train_flags": "", "data": "elsewhere"}))
    with pytest.raises(ValueError, match="that study had another data; only --train_flags may"):
        read_repeats([other], ours)
    for twice in ([ours], [again, again]):
        with pytest.raises(ValueError, match="names a study twice, or --out itself"):
            read_repeats(twice, ours)


def test_what_is_no_comparison_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--beside .*none: no finished comparison there"):
        read_repeat(tmp_path / "none")
    folder = write(tmp_path / "odd", [{"method": "gem", "test R@1 gain points": "x"}])
    with pytest.raises(ValueError, match="no finished comparison there"):
        read_repeat(folder)
