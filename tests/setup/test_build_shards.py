"""Photos and their table become shards; what does not get in is listed."""

import hashlib
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.images import decode_rgb
from data.shards import Index, verify
from setup.build_shards import build_shards, main
from setup.packing.settings import PackSettings

SPLITS = ("train", "val", "test")


@pytest.fixture
def folder(tmp_path, picture, encode):
    """20 photos in img/ by 5 authors, and their photos.csv."""
    (tmp_path / "img").mkdir()
    rows = []
    for i in range(20):
        (tmp_path / "img" / f"p{i}.jpg").write_bytes(encode(picture(40, 60, i)))
        rows.append({"IMG_ID": f"p{i}", "LAT": i - 10.0, "LON": 10.0 * i - 100, "AUTHOR": i % 5})
    pd.DataFrame(rows).to_csv(tmp_path / "photos.csv", index=False)
    return tmp_path


def build(folder, name="shards", images="img", workers=1, **options):
    settings = PackSettings(folder / "photos.csv", folder / images, **options)
    return build_shards(settings, folder / name, workers)


def samples(folder, name="shards"):
    """Every sample by split."""
    found = {}
    for split in SPLITS:
        if (folder / name / split).exists():
            index = Index.open(folder / name / split)
            found[split] = [index.read(i) for i in range(len(index))]
    return found


def sums(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_table(folder, rows):
    pd.DataFrame(rows).to_csv(folder / "photos.csv", index=False)


def one(folder, **columns):
    """Pack photo p0 with these columns; returns its metadata and what was packed."""
    write_table(folder, [{"id": "p0", "lat": 1.0, "lon": 2.0, **columns}])
    packed = build(folder, val_share=0)
    return samples(folder)["train"][0].json, packed


def test_photos_go_in_as_they_are(folder):
    packed = build(folder, val_share=0.2, test_share=0.2, samples_per_shard=5)
    found = samples(folder)
    assert packed.samples == {split: len(found[split]) for split in SPLITS}
    assert packed.samples == {"train": 12, "val": 4, "test": 4}
    everything = [sample for split in SPLITS for sample in found[split]]
    assert sorted(s.key for s in everything) == sorted(f"p{i}" for i in range(20))
    for sample in everything:
        i = int(sample.key[1:])
        assert sample.jpg == (folder / "img" / f"p{i}.jpg").read_bytes()
        assert sample.json == {"lat": i - 10.0, "lon": 10.0 * i - 100, "author": str(i % 5)}
    for split in SPLITS:
        assert verify(folder / "shards" / split).ok
    assert len(list((folder / "shards" / "train").glob("*.tar"))) == 3
    assert pd.read_csv(folder / "shards" / "refused_photos.csv").empty


def test_no_photographer_is_in_two_splits(folder):
    build(folder, val_share=0.2, test_share=0.2)
    authors = {s: {x.json["author"] for x in found} for s, found in samples(folder).items()}
    assert sum(map(len, authors.values())) == len(set.union(*authors.values())) == 5


def test_two_runs_give_the_same_bytes(folder):
    build(folder, "a", samples_per_shard=7)
    build(folder, "b", samples_per_shard=7, workers=2)
    build(folder, "c", samples_per_shard=7, seed=3)
    first = sums(folder / "a")
    assert first == sums(folder / "b")
    assert set(first) == set(sums(folder / "c"))
    assert first != sums(folder / "c")


def test_nothing_is_lost_in_silence(folder, encode, picture):
    photo = encode(picture(40, 60))
    (folder / "img" / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    (folder / "img" / "text.jpg").write_bytes(b"no photo")
    (folder / "img" / "empty.png").write_bytes(b"")
    table = [("p0", 1, 2), ("gone", 1, 2), ("cut", 1, 2), ("p1", 95, 2), ("p0", 1, 2), ("", 1, 2)]
    table += [("text", 1, 2), ("p2", "x", 2), ("empty", 1, 2), ("p3", 3, 4), ("../p4", 1, 2)]
    write_table(folder, [dict(zip(("id", "lat", "lon"), row, strict=True)) for row in table])
    packed = build(folder, val_share=0)
    assert [s.key for s in samples(folder)["train"]] == ["p0", "p3"]
    refused = pd.read_csv(folder / "shards" / "refused_photos.csv", keep_default_na=False)
    reasons = refused["reason"].str.partition(":")[0]
    assert list(zip(refused["row"], refused["id"], reasons, strict=True)) == [
        (2, "gone", "no such photo"),
        (3, "cut", "undecodable"),
        (4, "p1", "swapped?"),
        (5, "p0", "duplicate id"),
        (6, "", "missing id"),
        (7, "text", "undecodable"),
        (8, "p2", "lat is not a number"),
        (9, "empty", "undecodable"),
        (11, "../p4", "no such photo"),
    ]
    assert packed.refusals()["undecodable"] == 3
    assert len(refused) + sum(packed.samples.values()) == len(table)


def test_other_formats_become_upright_jpegs(folder, picture, encode):
    turned = Image.Exif()
    turned[0x0112] = 6
    upright = picture(40, 60, 7)
    stored = np.ascontiguousarray(np.rot90(upright))
    (folder / "img" / "a.png").write_bytes(encode(upright, "PNG"))
    (folder / "img" / "b.webp").write_bytes(encode(stored, "WEBP", exif=turned, lossless=True))
    (folder / "img" / "c.jpg").write_bytes(encode(stored, exif=turned, quality=95))
    (folder / "img" / "d.jpg").write_bytes(encode(upright, "PNG"))  # a PNG by another name
    write_table(folder, [{"id": key, "lat": 1, "lon": 2} for key in "abcd"])
    packed = build(folder, val_share=0)
    assert packed.encoded == 3
    found = {sample.key: sample.jpg for sample in samples(folder)["train"]}
    assert found["c"] == (folder / "img" / "c.jpg").read_bytes()
    for key, jpg in found.items():
        assert Image.open(io.BytesIO(jpg)).format == "JPEG"
        pixels = decode_rgb(jpg)
        assert pixels.shape == (40, 60, 3)
        assert np.abs(pixels.astype(int) - upright).mean() < 3, key


@pytest.mark.parametrize("name", ["7f/1a.jpg", "7f/1a", "7f%2F1a%2Ejpg.jpg"])
def test_photos_are_found_by_id_or_key(folder, picture, encode, name):
    image_id = "7f/1a" if name == "7f/1a" else "7f/1a.jpg"
    path = folder / "img" / (name if name.endswith(".jpg") else f"{name}.jpg")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode(picture()))
    write_table(folder, [{"id": image_id, "lat": 1, "lon": 2}])
    build(folder, val_share=0)
    assert samples(folder)["train"][0].key == image_id.replace("/", "%2F").replace(".", "%2E")


def test_segmentation_maps(folder, picture, encode):
    (folder / "seg").mkdir()
    classes = picture(40, 60)[:, :, 0] // 32
    good = encode(np.ascontiguousarray(classes), "PNG")
    (folder / "seg" / "p0.png").write_bytes(good)
    (folder / "seg" / "p1.jpg.png").write_bytes(good)  # named after the photo's file
    (folder / "seg" / "p2.png").write_bytes(encode(classes[:20], "PNG"))
    (folder / "seg" / "p3.png").write_bytes(good[:80])
    (folder / "seg" / "p4.png").write_bytes(encode(picture(40, 60), "PNG"))
    write_table(folder, [{"id": f"p{i}", "lat": 1, "lon": 2} for i in (0, 2, 3, 4, 5)])
    packed = build(folder, val_share=0, seg=folder / "seg")
    found = {sample.key: sample.seg_png for sample in samples(folder)["train"]}
    assert found == {"p0": good, "p5": None}
    assert packed.unmapped == 1
    reasons = dict(zip(packed.refused["id"], packed.refused["reason"], strict=True))
    assert set(reasons) == {"p2", "p3", "p4"}
    assert "segmentation map is 60 x 20" in reasons["p2"]


def test_metadata_is_carried(folder):
    found, packed = one(
        folder,
        author="1@N0",
        License="CC BY 4.0",
        url="https://example.org/1",
        date_taken="2019-05-01",
        heading=271.5,
        S3_Label=2,
        S16_Label=7,
        S365_Label="[0.25, 0.75]",
        caption="not carried",
    )
    assert found == {
        "lat": 1.0,
        "lon": 2.0,
        "author": "1@N0",
        "licence": "CC BY 4.0",
        "url": "https://example.org/1",
        "captured_at": "2019-05-01",
        "heading": 271.5,
        "s3": [0.0, 0.0, 1.0],
        "s16": 7,
        "s365": [0.25, 0.75],
    }
    assert not packed.unreadable


@pytest.mark.parametrize(
    ("columns", "s3"),
    [
        ({"Prob_indoor": 0.1, "Prob_natural": 0.2, "Prob_urban": 0.7}, [0.1, 0.2, 0.7]),
        ({"S3_Label": 0, "PROB_INDOOR": 0.1, "PROB_NATURAL": 0, "PROB_URBAN": 1}, [0.1, 0.0, 1.0]),
        ({"s3": "[0.5, 0.5, 0]"}, [0.5, 0.5, 0.0]),
        ({"s3": 1}, [0.0, 1.0, 0.0]),
        ({"s3": None}, None),
    ],
)
def test_scenes(folder, columns, s3):
    found, packed = one(folder, **columns)
    assert found.get("s3") == s3
    assert not packed.unreadable


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("s3", value) for value in (3, -1, 0.5, "[1, 2]", "[0, 0, 0]", "urban", "[-1, 1, 1]")),
        *(("s3", value) for value in ("[NaN, 0, 1]", "[" * 100_000)),
        *(("heading", value) for value in ("north", "inf")),
        *(("s16", "x"), ("s365", '{"a": 1}'), ("Prob_urban", "x")),
    ],
)
def test_unreadable_values_are_counted(folder, column, value):
    columns = {column: value}
    if column.startswith("Prob"):
        columns |= {"Prob_indoor": 0.5, "Prob_natural": 0.5}
        column = "s3"
    found, packed = one(folder, **columns)
    assert set(found) == {"lat", "lon"}
    assert packed.unreadable == {column: 1}


def test_gaps_in_a_column_of_numbers(folder):
    """Pandas reads it as floats; an author 7 stays 7, and nobody is not an author called nan."""
    rows = [{"id": f"p{i}", "lat": 1, "lon": 2, "author": a} for i, a in enumerate((7, None))]
    write_table(folder, rows)
    build(folder, val_share=0)
    assert [s.json.get("author") for s in samples(folder)["train"]] == ["7", None]


def test_unusable_input(folder):
    (folder / "nothing").mkdir()
    with pytest.raises(ValueError, match="none of the photos"):
        build(folder, "out", images="nothing")
    with pytest.raises(ValueError, match="no folder"):
        build(folder, seg=folder / "maps")
    with pytest.raises(ValueError, match="no folder"):
        build(folder, "out", images="none")
    with pytest.raises(ValueError, match="either a folder"):
        PackSettings(folder / "photos.csv")
    with pytest.raises(ValueError, match="at least 1"):
        PackSettings(folder / "photos.csv", folder / "img", samples_per_shard=0)
    with pytest.raises(ValueError, match=r"not empty; give an empty folder"):
        build(folder, "img")


def test_a_split_of_damaged_photos_is_an_error(folder):
    write_table(folder, [{"id": f"p{i}", "lat": 1, "lon": 2} for i in range(10)])
    build(folder, "before")
    (val,) = samples(folder, "before")["val"]
    (folder / "img" / f"{val.key}.jpg").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="stays empty: see"):
        build(folder)
    assert pd.read_csv(folder / "shards" / "refused_photos.csv")["id"].tolist() == [val.key]


def test_command_line(folder, capsys):
    (folder / "img" / "p3.jpg").unlink()
    words = ["--images", str(folder / "img"), "--csv", str(folder / "photos.csv")]
    words += ["--output", str(folder / "out"), "--val_share", "0.25"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "train" in shown
    assert "1 refused, no such photo" in shown
    assert str(folder / "out" / "refused_photos.csv") in shown
    before = sums(folder / "out")
    assert main(words) == 0, "the same again finds all done"
    assert capsys.readouterr().out == shown
    assert sums(folder / "out") == before
    assert main([*words, "--seed", "1"]) == 2
    assert "begun with another seed" in capsys.readouterr().err
