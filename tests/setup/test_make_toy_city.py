"""The synthetic set of places: layout, exact positions, the same files again."""

import pytest

from data.places import read_places
from setup.make_toy_city import main, make_toy_city

SMALL = {"blocks": (1, 1), "step_m": 20.0, "queries": 12, "size": (48, 64)}


def test_every_query_has_its_place_in_the_database(tmp_path):
    counts = make_toy_city(tmp_path / "a", night_share=0.5, **SMALL)
    for split in ("train", "val", "test"):
        places = read_places(tmp_path / "a", split)
        assert len(places.queries) == 12
        assert places.dropped == 0
        assert (places.positives.counts >= 2).all()
        assert len(places.queries) + len(places.database) == counts[split]
        assert sum("@night@" in path.name for path in places.queries.paths) == 6
    ranges = [read_places(tmp_path / "a", split).database.utm_m[:, 0] for split in ("train", "val")]
    assert ranges[1].min() - ranges[0].max() > 1000


def test_the_same_arguments_give_the_same_files(tmp_path):
    for name in ("a", "b"):
        make_toy_city(tmp_path / name, **SMALL)
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in found}
        for name in ("a", "b")
        for found in [sorted((tmp_path / name).rglob("*.jpg"))]
    ]
    assert files[0] == files[1]
    with pytest.raises(ValueError, match="is not empty"):
        make_toy_city(tmp_path / "a", **SMALL)


def test_command_line(tmp_path, capsys):
    arguments = ["--output", str(tmp_path / "a"), "--blocks", "1", "1", "--step_m", "40"]
    assert main([*arguments, "--queries", "2", "--size", "24", "32"]) == 0
    assert "synthetic photos" in capsys.readouterr().out
    assert main([*arguments, "--queries", "2"]) == 2
    assert "error: " in capsys.readouterr().err


def test_no_photo_is_in_two_districts(tmp_path):
    make_toy_city(tmp_path / "a", **SMALL)
    photos = [path.read_bytes() for path in (tmp_path / "a").rglob("*.jpg")]
    assert len(set(photos)) == len(photos)
