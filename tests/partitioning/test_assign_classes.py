"""The command: cells, classes, refused rows and a picture from a CSV."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from partitioning.assign_classes import main
from partitioning.partition import LEVELS, build_partition, load

T = {"coarse": (20, 500), "middle": (20, 200), "fine": (20, 80)}
T_FLAGS = [flag for name, t in T.items() for flag in (f"--t_{name}", *map(str, t))]


@pytest.fixture
def photos_csv(towns, tmp_path):
    """The towns' photos and four bad rows."""
    ids = [f"{k:05}" for k in range(len(towns[0]))]
    frame = pd.DataFrame({"IMG_ID": ids, "LAT": towns[0], "LON": towns[1]})
    bad = pd.DataFrame(
        {"IMG_ID": ["n", "s", "o", "00000"], "LAT": [None, 139, 99, 1], "LON": [1, 35, 99, 1]}
    )
    pd.concat([bad[:3], frame, bad[3:]]).to_csv(tmp_path / "photos.csv", index=False)
    return tmp_path / "photos.csv"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_everything_is_written_and_agrees(photos_csv, towns, tmp_path, capsys):
    output = tmp_path / "out"
    assert run("--input", photos_csv, "--output", output, *T_FLAGS) == 0
    expected = build_partition(*towns, T)
    partition = load(output / "cells.parquet")
    assert partition.fingerprint == expected.fingerprint
    assert partition.source_sha256 == hashlib.sha256(photos_csv.read_bytes()).hexdigest()
    classes = pd.read_parquet(output / "classes.parquet")
    assert list(classes) == ["id", *LEVELS]
    np.testing.assert_array_equal(classes[list(LEVELS)], expected.assign(*towns))
    as_csv = pd.read_csv(output / "classes.csv", dtype={"id": str})
    pd.testing.assert_frame_equal(as_csv, classes, check_dtype=False)
    for name in LEVELS:
        collection = json.loads((output / f"{name}.geojson").read_text())
        assert len(collection["features"]) == len(expected.levels[name])
    assert (output / "cells.png").exists()
    assert not list(output.glob("*.tmp"))
    refused = pd.read_csv(output / "refused.csv")
    assert refused["reason"].tolist() == ["missing", "swapped?", "out of range", "duplicate id"]
    assert refused["row"].tolist() == [1, 2, 3, len(towns[0]) + 4]
    said = capsys.readouterr().out
    in_none = int(np.sum(expected.assign(*towns)[:, 2] < 0))
    assert in_none > 0
    assert "6,000 photos read, 4 rows refused" in said
    assert f"fine: {len(expected.fine):,} cells, {in_none:,} photos in none of them" in said


def test_given_cells_are_used(photos_csv, towns, positions, tmp_path):
    run("--input", photos_csv, "--output", tmp_path / "a", "--no_picture", *T_FLAGS)
    lat, lon = positions(50, seed=5)
    other = pd.DataFrame({"id": range(50), "latitude": lat, "lng": lon})
    other.to_csv(tmp_path / "other.csv", index=False)
    cells = tmp_path / "a" / "cells.parquet"
    given = ("--input", tmp_path / "other.csv", "--output", tmp_path / "b", "--cells", cells)
    assert run(*given, "--no_picture") == 0
    classes = pd.read_parquet(tmp_path / "b" / "classes.parquet")
    np.testing.assert_array_equal(
        classes[list(LEVELS)], build_partition(*towns, T).assign(lat, lon)
    )
    assert load(tmp_path / "b" / "cells.parquet").fingerprint == load(cells).fingerprint
    assert not (tmp_path / "b" / "cells.png").exists()


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("id,lat\na,1\n", (), "no column for lon"),
        ("id,lat,lon\na,,\n", (), "no usable row; see"),
        ("id,lat,lon\na,1,2\n", (), "no coarse cell"),
        ("", ("--t_fine", "50", "9000"), "would not nest"),
        ("id,lat,lon\na,1,2\n", ("--cells", "photos.csv"), "not a usable cells.parquet"),
        ("id,lat,lon\na,1,2\n", ("--cells", "none.parquet"), "none.parquet"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, text, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.csv").write_text(text)
    assert run("--input", "photos.csv", "--output", "out", *flags) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said
