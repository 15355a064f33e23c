"""Training authors: from a table, from shards, from a bundle that remembers them."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import simplejpeg

from data.shards import Index, ShardWriter
from models.evaluation.author_hashes import (
    FILE,
    author_hashes,
    is_new_author,
    read_author_hashes,
    write_author_hashes,
)
from models.evaluation.training_photos import authors_of_shards, training_photos


def first_bytes(author):
    return int(hashlib.sha256(author.encode()).hexdigest()[:16], 16)


def test_hashes_and_who_is_new():
    found = author_hashes(["Ann", "", "Bob"])
    assert found.tolist() == [first_bytes("Ann"), 0, first_bytes("Bob")]
    known = np.unique(author_hashes({"Bob", "Eve"}))
    assert is_new_author(["Ann", "", "Bob", "Eve "], known).tolist() == [True, False, False, True]


def test_a_bundle_remembers(tmp_path):
    assert read_author_hashes(tmp_path) is None
    assert write_author_hashes(tmp_path, ["b", "a", "", "b"]) == 2
    assert read_author_hashes(tmp_path).tolist() == sorted([first_bytes("a"), first_bytes("b")])
    known, areas = training_photos(tmp_path, None, None)
    assert (len(known), areas) == (2, {})


@pytest.mark.parametrize("kind", ["text", "pickle", "floats"])
def test_a_damaged_list_of_authors(kind, tmp_path):
    if kind == "text":
        (tmp_path / FILE).write_text("Ann")
    else:
        array = np.array([{"a": 1}], dtype=object) if kind == "pickle" else np.zeros(3)
        np.save(tmp_path / FILE, array, allow_pickle=True)
    with pytest.raises(ValueError, match=r"authors\.npy is not a list of author hashes"):
        read_author_hashes(tmp_path)


def test_from_a_table(tmp_path):
    rows = [("a.jpg", 1, 2, 7.0, "Lima"), ("b.jpg", 3, 4, None, ""), ("c.jpg", 5, 6, 9.0, "Cusco")]
    names = ["IMG_ID", "LAT", "LON", "AUTHOR", "unique_city"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "train.csv", index=False)
    found = training_photos(tmp_path, tmp_path / "train.csv", None)
    assert found.authors.tolist() == sorted([first_bytes("7"), first_bytes("9")])
    assert found.areas["city"].name.tolist() == ["Lima", "", "Cusco"]
    assert found.areas["city"].lat.tolist() == [1, 3, 5]


def test_from_shards_and_nothing_known(tmp_path):
    jpg = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    for folder, author in (("with", {"author": "Ann"}), ("without", {})):
        with ShardWriter(tmp_path / folder) as writer:
            writer.write("p1", jpg, {"lat": 1.0, "lon": 2.0, **author}, None)
            writer.write("p2", jpg, {"lat": 1.0, "lon": 2.0}, None)
    found = training_photos(tmp_path, None, tmp_path / "with")
    assert found.authors.tolist() == [first_bytes("Ann")]
    with pytest.raises(ValueError, match="names no author and no area"):
        training_photos(tmp_path, None, tmp_path / "without")


def test_authors_to_remember(tmp_path, monkeypatch):
    monkeypatch.setattr("models.evaluation.training_photos.CHUNK", 2)
    jpg = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    with ShardWriter(tmp_path) as writer:
        for i, author in enumerate(["Ann", "", "Bob", "Ann", None]):
            named = {"author": author} if author else {}
            writer.write(f"p{i}", jpg, {"lat": 1.0, "lon": 2.0, **named})
    index = Index.open(tmp_path)
    assert authors_of_shards(index, np.arange(5)) == {"Ann", "Bob"}
    assert authors_of_shards(index, np.array([1, 4])) is None
