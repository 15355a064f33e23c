"""The tables of MP-16, YFCC and Im2GPS, made up but with their shapes and quirks."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from data.sample import safe_key
from data.tables import read_photo_table
from partitioning.assign_classes import main as assign_classes
from setup.packing.sample_metadata import metadata, with_scene_column

TABLES = [
    "mp16_places365.csv",
    "yfcc25600_places365.csv",
    "yfcc4k_places365.csv",
    "im2gps_places365.csv",
    "im2gps3k_places365.csv",
]


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_read_as_it_stands(field_table, name):
    path, rows = field_table(name)
    table = read_photo_table(path, make_safe_keys=True)
    assert table.refused.empty
    photos = table.photos
    assert photos["image_id"].tolist() == [row[0] for row in rows]
    assert photos["id"].tolist() == [safe_key(row[0]) for row in rows]
    assert photos["lat"].tolist() == [float(row[1]) for row in rows]
    assert photos["lon"].tolist() == [float(row[2]) for row in rows]
    labels = np.array([row[3].split(",") for row in rows], float)
    names = ["s3", "s16", "s365", "Prob_indoor", "Prob_natural", "Prob_urban"]
    np.testing.assert_array_equal(photos[names], labels)


@pytest.mark.parametrize("name", TABLES)
def test_assign_classes_takes_them(field_table, name, tmp_path, capsys):
    path, rows = field_table(name, count=300)
    flags = ["--t_coarse", "2", "200", "--t_middle", "2", "60", "--t_fine", "2", "20"]
    words = ["--input", str(path), "--output", str(tmp_path / "cells"), "--no_picture", *flags]
    assert assign_classes(words) == 0
    assert "300 photos read, 0 rows refused" in capsys.readouterr().out
    classes = pd.read_csv(tmp_path / "cells" / "classes.csv")
    assert classes["id"].tolist() == [row[0] for row in rows]


@pytest.mark.parametrize("name", TABLES)
def test_labels_reach_the_sample(field_table, name):
    path, rows = field_table(name, count=5)
    photos = with_scene_column(read_photo_table(path, make_safe_keys=True).photos)
    unreadable = Counter()
    for row, fields in zip(rows, photos.to_dict("records"), strict=True):
        found = metadata(fields, unreadable)
        labels = [float(value) for value in row[3].split(",")]
        assert found["s3"] == labels[3:]
        assert (found["s16"], found["s365"]) == (labels[1], labels[2])
    assert not unreadable


def broken(path):
    """What happens to such files: rows cut, added, doubled, emptied, in one of each kind."""
    lines = path.read_bytes().splitlines()
    id_at = 1 if lines[0].startswith(b",") else 0
    positions = [i for i, name in enumerate(lines[0].split(b",")) if name in (b"LAT", b"LON")]

    def with_field(line, at, value):
        fields = line.split(b",")
        fields[at] = value
        return b",".join(fields)

    lines[3] = with_field(lines[3], positions[0], b"")
    lines[5] = with_field(lines[5], positions[1], b"unknown")
    lines[6] = with_field(lines[6], positions[0], b"123.5")
    lines[6] = with_field(lines[6], positions[1], b"9.5")
    lines[7] = with_field(lines[7], positions[0], b"999")
    lines[8] = with_field(lines[8], id_at, b"")
    lines[9] = lines[2]
    lines[11] += b",one,more"
    lines[12] = b",".join(lines[12].split(b",")[:4])
    for at in range(-6, 0):
        lines[14] = with_field(lines[14], at, b"")  # no labels
    lines[15] = with_field(lines[15], -6, b"2.0")
    lines[-1] = lines[-1][:-25].rpartition(b",")[0]  # the download broke off
    path.write_bytes(b"\n".join(lines))
    return path


REFUSED = {
    3: "missing",
    5: "lon is not a number",
    6: "swapped?",
    7: "out of range",
    8: "missing id",
    9: "duplicate id",
    11: "long row",
    12: "short row",
    40: "short row",
}


@pytest.mark.parametrize("name", TABLES)
def test_broken_rows_are_counted_by_reason(field_table, name, tmp_path, capsys):
    path, rows = field_table(name)
    table = read_photo_table(broken(path), make_safe_keys=True)
    assert dict(zip(table.refused["row"], table.refused["reason"], strict=True)) == REFUSED
    assert len(table) + len(table.refused) == 40
    kept = [row for i, row in enumerate(rows, 1) if i not in REFUSED]
    assert table.photos["image_id"].tolist() == [row[0] for row in kept]
    assert table.photos["lat"].tolist() == [float(row[1]) for row in kept]
    unlabelled = table.photos["image_id"] == rows[13][0]
    assert table.photos.loc[unlabelled, ["s3", "s16", "Prob_urban"]].isna().all(axis=None)
    counts = Counter(REFUSED.values())
    assert table.refusals() == counts
    assert table.refused["id"].tolist()[-2:] == [rows[11][0], rows[39][0]]
    words = ["--input", str(path), "--output", str(tmp_path / "cells"), "--no_picture"]
    flags = ["--t_coarse", "1", "200", "--t_middle", "1", "60", "--t_fine", "1", "20"]
    assert assign_classes([*words, *flags]) == 0
    shown = capsys.readouterr().out
    assert "31 photos read, 9 rows refused" in shown
    for reason, count in counts.items():
        assert f"  {count} {reason}" in shown


def test_three_photos_of_im2gps3k_have_no_label(field_table):
    """3,000 photos, 2,997 rows: the table knows of no other."""
    path, _ = field_table("im2gps3k_places365.csv", count=2997)
    assert len(read_photo_table(path, make_safe_keys=True)) == 2997


def test_an_early_im2gps3k_has_its_columns_swapped(field_table):
    """Two thirds of its rows are valid positions all the same, on the wrong side of the world."""
    path, _ = field_table("im2gps3k_places365.csv", count=300)
    path.write_text(path.read_text().replace("LAT,LON", "LON,LAT"))
    with pytest.raises(ValueError, match=r"in each other's column: .* of 300 rows"):
        read_photo_table(path, make_safe_keys=True)


@pytest.mark.parametrize("name", ["mp16_urls.csv", "yfcc25600_urls.csv"])
def test_a_list_of_urls_is_no_table_of_positions(field_table, name, tmp_path, capsys):
    path, _ = field_table(name)
    assert assign_classes(["--input", str(path), "--output", str(tmp_path / "cells")]) == 2
    assert "A list of URLs has no positions" in capsys.readouterr().err
