"""The benchmarks' counts, and what is said where they are not met."""

import dataclasses
import hashlib

import pytest

from data.benchmarks import PROTOCOLS, assert_count, count_problem, describe, get_protocol

COUNTS = {"im2gps": 237, "im2gps3k": 2997, "yfcc4k": 4536, "yfcc25600": 25600, "osv5m": 210122}


def test_counts_and_sources():
    assert {name: protocol.photos for name, protocol in PROTOCOLS.items()} == COUNTS
    assert all("http" in protocol.source for protocol in PROTOCOLS.values())


def test_they_cannot_be_changed():
    with pytest.raises(TypeError):
        PROTOCOLS["im2gps"] = None
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_protocol("im2gps").photos = 1
    with pytest.raises(ValueError, match="there are im2gps, im2gps3k"):
        get_protocol("im2gps4k")


def test_the_right_count_is_no_problem():
    assert count_problem(get_protocol("im2gps"), 237, 0, []) == ""
    assert assert_count(None, True, 5, 0, []) == ""


def test_what_is_missing_is_said():
    unreadable = [f"p{i}: no such photo" for i in range(5)]
    problem = count_problem(get_protocol("im2gps3k"), 2990, 2, unreadable)
    for text in ("2,997 photos, tested were 2,990", "2 rows were refused", "5 photos are missing"):
        assert text in problem
    assert "p0: no such photo" in problem
    assert "the table has" not in problem  # its 2,997 rows are right
    assert "3,000 rows (+3)" in count_problem(get_protocol("im2gps3k"), 3000, 0, [])
    assert assert_count(get_protocol("im2gps"), False, 1, 0, [])
    with pytest.raises(ValueError, match="237 photos, tested were 1"):
        assert_count(get_protocol("im2gps"), True, 1, 0, [])


def test_the_list_is_named_by_its_hash(tmp_path):
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\n")
    found = describe(get_protocol("im2gps"), tmp_path / "t.csv", None, "")
    assert found["list_sha256"] == hashlib.sha256(b"IMG_ID,LAT,LON\n").hexdigest()
    (tmp_path / "manifest.parquet").write_bytes(b"rows")
    found = describe(None, None, tmp_path, "")
    assert found["list_sha256"] == hashlib.sha256(b"rows").hexdigest()
    assert (found["name"], found["expected"]) == ("", None)
