"""Galleries: S2 order, whole or not there, another model's or damaged ones refused."""

import json
import shutil
import sqlite3

import numpy as np
import pytest
import s2sphere

from partitioning import s2
from retrieval.gallery import Gallery


@pytest.fixture
def saved(tmp_path, make_inputs):
    return Gallery.create(tmp_path / "city", **make_inputs())


def cell_of(lat, lon, level):
    return s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(lat, lon)).parent(level)


@pytest.mark.parametrize("level", [0, 2, 5, 9, 14, 30])
def test_a_cell_of_any_level_is_one_slice(saved, level):
    cells = [cell_of(lat, lon, level) for lat, lon in zip(saved.lat, saved.lon, strict=True)]
    by_cell = {}
    for row, cell in enumerate(cells):
        by_cell.setdefault(cell.id(), []).append(row)
    slices = saved.slices(list(by_cell))
    for (first, last), rows in zip(slices.tolist(), by_cell.values(), strict=True):
        assert list(range(first, last)) == rows


def test_cells_without_photos_are_empty_slices_and_no_cells_are_refused(saved):
    empty = next(
        cell.id()
        for cell in map(s2sphere.CellId.from_face_pos_level, range(6), [0] * 6, [30] * 6)
        if cell.id() not in saved.leaf_ids
    )
    first, last = saved.slices([empty])[0]
    assert first == last
    assert saved.slices([]).shape == (0, 2)
    with pytest.raises(ValueError, match="no S2 cells"):
        saved.slices([0])


def test_rows_photos_and_positions_stay_together(tmp_path, make_inputs):
    inputs = make_inputs()
    for kept in (Gallery.create(tmp_path / "g", **inputs), Gallery.in_memory(**inputs)):
        assert (np.diff(kept.leaf_ids.astype(object)) >= 0).all()
        for row, photo in enumerate(kept.photos(range(len(kept)))):
            source = int(photo["key"].removeprefix("photo"))
            given = inputs["descriptors"][source].astype(np.float64)
            unit = given / np.sqrt((given**2).sum())
            np.testing.assert_allclose(kept.descriptors[row], unit, atol=5e-4)
            assert photo["row"] == row
            assert photo["path"] == f"p/{source}.jpg"
            assert kept.lat[row] == photo["lat"] == inputs["lat"][source]
            assert kept.lon[row] == photo["lon"] == inputs["lon"][source]


def test_what_was_saved_is_what_memory_holds(saved, make_inputs):
    held = Gallery.in_memory(**make_inputs())
    opened = Gallery.open(saved.directory, saved.model_sha256)
    for name in ("descriptors", "leaf_ids", "lat", "lon"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(held, name))
    assert opened.photos([7, 0]) == held.photos([7, 0])
    assert opened.licences == held.licences == {"CC0": 200, "CC BY 4.0": 100}
    assert (len(opened), opened.dim) == (300, 16)


def test_every_field_comes_back(tmp_path, make_inputs):
    inputs = make_inputs(1)
    photo = {
        "key": "k",
        "path": "a/b.jpg",
        "author": "Ångström; DROP TABLE photos",
        "licence": None,
        "url": "https://example.org/1",
        "heading": 12.5,
        "captured_at": "2021-05-06",
        "place": "Uppsala",
        "tags": ["a", 1],
    }
    kept = Gallery.create(tmp_path / "g", **{**inputs, "photos": [photo]})
    (found,) = kept.photos([0])
    assert {name: found[name] for name in photo} == photo
    assert kept.licences == {"unknown": 1}


def test_rows_in_area_match_a_loop(saved):
    for area in [(-40, -30, 60, 70), (100, -80, -100, 80), (-180, -90, 180, 90), (5, 5, 5, 5)]:
        west, south, east, north = area
        expected = [
            row
            for row, (lat, lon) in enumerate(zip(saved.lat, saved.lon, strict=True))
            if south <= lat <= north
            and ((lon >= west or lon <= east) if west > east else west <= lon <= east)
        ]
        assert saved.rows_in_area(area).tolist() == expected
        inner = [row for row in expected if 50 <= row < 200]
        assert saved.rows_in_area(area, 50, 200).tolist() == inner


def test_another_models_gallery_is_refused(saved):
    other = "0123456789abcdef" * 4
    with pytest.raises(
        ValueError, match=f"{saved.model_sha256[:12]}, not with 0123456789ab; "
    ) as e:
        Gallery.open(saved.directory, other)
    assert (
        f"python -m retrieval.index --model MODEL --images DIR --csv F --gallery {saved.directory}"
        in str(e.value)
    )
    assert other not in str(e.value)


@pytest.fixture
def described_by_place_model(tmp_path, make_inputs):
    inputs = make_inputs(20) | {"descriptor_model": "place"}
    return Gallery.create(tmp_path / "town", **inputs)


def test_kinds_of_models_are_told_apart(saved, described_by_place_model):
    placed = described_by_place_model
    sha256 = placed.model_sha256
    assert (saved.descriptor_model, placed.descriptor_model) == ("bundle", "place")
    assert len(Gallery.open(placed.directory, sha256, "place")) == 20
    assert Gallery.open(placed.directory).descriptor_model == "place"
    rebuild = f"--images DIR --csv F --gallery {placed.directory}"
    with pytest.raises(ValueError, match="described by a place model") as error:
        Gallery.open(placed.directory, sha256)
    assert "name the place model's folder with --place_model" in str(error.value)
    assert f"retrieval.index --model MODEL {rebuild}" in str(error.value)
    with pytest.raises(ValueError, match=r"described by a model bundle .* leave out --place_model"):
        Gallery.open(saved.directory, sha256, "place")
    with pytest.raises(ValueError, match=r"with place model .* not with 0123456789ab") as error:
        Gallery.open(placed.directory, "0123456789abcdef" * 4, "place")
    assert f"retrieval.index --place_model MODEL {rebuild}" in str(error.value)


def test_a_gallery_from_before_place_models_is_a_bundle_s(saved):
    path = saved.directory / "gallery.json"
    header = json.loads(path.read_text())
    assert header.pop("descriptor_model") == "bundle"
    path.write_text(json.dumps(header))
    opened = Gallery.open(saved.directory, saved.model_sha256)
    assert opened.descriptor_model == "bundle"
    with pytest.raises(ValueError, match="leave out --place_model"):
        Gallery.open(saved.directory, saved.model_sha256, "place")


def test_long_descriptors_are_written_in_smaller_blocks(make_inputs, monkeypatch):
    expected = Gallery.in_memory(**make_inputs()).descriptors
    monkeypatch.setattr("retrieval.gallery.BLOCK_VALUES", 7 * 16)
    np.testing.assert_array_equal(Gallery.in_memory(**make_inputs()).descriptors, expected)
    monkeypatch.setattr("retrieval.gallery.BLOCK_VALUES", 1)
    np.testing.assert_array_equal(Gallery.in_memory(**make_inputs()).descriptors, expected)


def test_nothing_is_replaced_unasked(saved, make_inputs, tmp_path):
    with pytest.raises(ValueError, match="a gallery already"):
        Gallery.create(saved.directory, **make_inputs(20))
    assert len(Gallery.open(saved.directory)) == 300
    assert len(Gallery.create(saved.directory, **make_inputs(20), overwrite=True)) == 20
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "letter").write_text("dear")
    with pytest.raises(ValueError, match="is not a gallery"):
        Gallery.create(precious, **make_inputs(20), overwrite=True)
    assert (precious / "letter").read_text() == "dear"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["city", "home"]


def test_a_failed_build_leaves_nothing_and_the_old_gallery_whole(saved, make_inputs, tmp_path):
    inputs = make_inputs(50)
    inputs["photos"][40]["key"] = "photo1"
    with pytest.raises(ValueError, match=r"UNIQUE.*key"):
        Gallery.create(saved.directory, **inputs, overwrite=True)
    assert len(Gallery.open(saved.directory)) == 300
    assert [p.name for p in tmp_path.iterdir()] == ["city"]


def test_a_failed_rename_puts_the_old_gallery_back(saved, make_inputs, tmp_path, monkeypatch):
    rename = type(tmp_path).rename

    def fail_for_new(self, target):
        if self.name.endswith(".tmp"):
            raise OSError("disk")
        return rename(self, target)

    monkeypatch.setattr(type(tmp_path), "rename", fail_for_new)
    with pytest.raises(OSError, match="disk"):
        Gallery.create(saved.directory, **make_inputs(20), overwrite=True)
    assert len(Gallery.open(saved.directory)) == 300
    assert [p.name for p in tmp_path.iterdir()] == ["city"]


def test_a_kill_between_the_renames_loses_no_gallery(saved, make_inputs, tmp_path, monkeypatch):
    rename = type(tmp_path).rename

    def killed(self, target):
        if self.name.endswith(".tmp"):
            raise SystemExit
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(tmp_path), "rename", killed)
        with pytest.raises(SystemExit):
            Gallery.create(saved.directory, **make_inputs(20), overwrite=True)
    assert not saved.directory.exists()
    with pytest.raises(ValueError, match="a gallery already"):  # it is back, and asked for
        Gallery.create(saved.directory, **make_inputs(20))
    assert len(Gallery.open(saved.directory)) == 300
    assert [p.name for p in tmp_path.iterdir()] == ["city"]


def test_only_its_own_whole_gallery_is_put_back(saved, make_inputs, tmp_path):
    other = shutil.copytree(saved.directory, tmp_path / ".city.night.77.old")
    shutil.rmtree(saved.directory)
    half = tmp_path / ".city.5.old"  # a kill came while it was removed
    half.mkdir()
    (half / "descriptors.f16").write_bytes(b"")
    assert len(Gallery.create(saved.directory, **make_inputs(20))) == 20
    assert other.is_dir()
    assert not half.exists()


def test_what_else_lies_in_a_gallery_is_not_removed(saved, make_inputs):
    (saved.directory / "wrong_standouts_100m.json").write_text("[]")
    Gallery.create(saved.directory, **make_inputs(20), overwrite=True)
    (saved.directory / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(ValueError, match=r"also holds holiday\.jpg, which .* move it away"):
        Gallery.create(saved.directory, **make_inputs(30), overwrite=True)
    assert len(Gallery.open(saved.directory)) == 20
    assert (saved.directory / "holiday.jpg").read_bytes() == b"dear"


def spoil(**changes):
    return lambda inputs: inputs.update(changes)


def spoil_row(name, value):
    def change(inputs):
        inputs[name][3] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil(descriptors=np.empty((0, 4)), lat=[], lon=[], photos=[]), "at least one photo"),
        (spoil(descriptors=np.ones((20, 4), int)), "float descriptors"),
        (spoil(lat=np.zeros(19)), "20 descriptors, 19 latitudes"),
        (spoil(photos=[]), "0 photos do not belong"),
        (spoil(model_sha256="abc"), "not a sha256"),
        (spoil_row("descriptors", np.nan), r"such as those of \['photo3'\]"),
        (spoil_row("descriptors", np.inf), r"NaN, infinite or zero"),
        (spoil_row("descriptors", 0), r"NaN, infinite or zero"),
        (spoil_row("lat", np.nan), "positions are not"),
        (spoil_row("lat", 120.0), "positions are not"),
        (spoil_row("photos", {"path": "x"}), "photo 3 has no key"),
        (spoil_row("photos", {"key": "a", "author": b"\xff"}), "cannot hold"),
        (spoil_row("photos", {"key": "a", "place": {1, 2}}), "cannot hold"),
    ],
)
def test_bad_input_is_refused(tmp_path, make_inputs, change, message):
    inputs = make_inputs(20)
    change(inputs)
    with pytest.raises(ValueError, match=message):
        Gallery.create(tmp_path / "g", **inputs)
    with pytest.raises(ValueError, match=message):
        Gallery.in_memory(**inputs)
    assert list(tmp_path.iterdir()) == []


def set_header(**changes):
    def change(directory):
        path = directory / "gallery.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def write(name, data):
    return lambda directory: (directory / name).write_bytes(data)


def run_sql(statement):
    def change(directory):
        with sqlite3.connect(directory / "photos.sqlite") as table:
            table.execute(statement)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "gallery.json").unlink(), "no gallery in"),
        (write("gallery.json", b"{"), "gallery.json is not JSON"),
        (write("gallery.json", b"[" * 100_000), "gallery.json is not JSON"),
        (write("gallery.json", b"[]"), "is not of format"),
        (set_header(format="groundfix-gallery-9"), "is not of format"),
        (set_header(dim=0), "dim is 0"),
        (set_header(count=True), "count is True"),
        (set_header(count=299), "descriptors.f16 has"),
        (set_header(dim=17), "descriptors.f16 has"),
        (set_header(count=1 << 39, dim=1 << 39), "descriptors.f16 has"),
        (set_header(model_sha256=None), "not a sha256"),
        (set_header(licences=[]), "licences are not"),
        (set_header(pca={}), "without PCA"),
        (set_header(descriptor_model="clip"), "descriptor_model is 'clip'"),
        (set_header(descriptor_model=[]), "descriptor_model is "),
        (lambda d: (d / "descriptors.f16").unlink(), "descriptors.f16 is missing"),
        (write("positions.f64", b""), "positions.f64 has 0 bytes"),
        (
            lambda d: (d / "leaf_ids.u64").write_bytes((d / "leaf_ids.u64").read_bytes()[::-1]),
            "not in S2 order",
        ),
        (lambda d: (d / "photos.sqlite").unlink(), "not a readable photo table"),
        (write("photos.sqlite", b"no database" * 500), "not a readable photo table"),
        (run_sql("CREATE VIEW secrets AS SELECT 1"), "not a photo table of"),
        (
            run_sql("CREATE TRIGGER t AFTER INSERT ON photos BEGIN SELECT 1; END"),
            "not a photo table",
        ),
        (run_sql("DELETE FROM photos WHERE row = 299"), "does not hold the 300 photos"),
        (run_sql("DELETE FROM photos"), "does not hold the 300 photos"),
    ],
)
def test_a_damaged_gallery_is_refused(saved, change, message):
    change(saved.directory)
    with pytest.raises(ValueError, match=message):
        Gallery.open(saved.directory)


@pytest.mark.parametrize(
    ("column", "value"),
    [("lat", None), ("lon", "x"), ("author", b"Ann"), ("key", None), ("heading", "north")],
)
def test_a_strangers_rows_of_other_types_are_refused(saved, column, value):
    """SQLite believes a schema that was written into the file, whatever the rows hold."""
    path = saved.directory / "photos.sqlite"
    with sqlite3.connect(path) as table:
        sql = table.execute("SELECT sql FROM sqlite_schema WHERE name = 'photos'").fetchone()[0]
        loose = sql.replace(" NOT NULL UNIQUE", " UNIQUE").replace(" NOT NULL", "")
        table.execute("PRAGMA writable_schema = ON")
        table.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'photos'",
                      (loose.replace(") STRICT", ")"),))  # fmt: skip
    with sqlite3.connect(path) as table:
        table.execute(f"UPDATE photos SET {column} = ? WHERE row = 4", (value,))
        table.execute("PRAGMA writable_schema = ON")
        table.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'photos'", (sql,))
    opened = Gallery.open(saved.directory)
    assert len(opened.photos([3])) == 1
    with pytest.raises(ValueError, match=f"row 4 of the photo table is damaged: .*{column}"):
        opened.photos([4])


def test_positions_of_photos_are_those_that_are_searched(saved):
    with sqlite3.connect(saved.directory / "photos.sqlite") as table:
        table.execute("UPDATE photos SET lat = 1.25 WHERE row = 4")
    opened = Gallery.open(saved.directory)
    assert opened.photos([4])[0]["lat"] == saved.lat[4] != 1.25


@pytest.mark.parametrize("more", ["not json", "[1]", "[" * 100_000])
def test_damaged_rows_are_named(saved, more):
    with sqlite3.connect(saved.directory / "photos.sqlite") as table:
        table.execute("UPDATE photos SET more = ? WHERE row = 4", (more,))
        table.execute("DELETE FROM photos WHERE row = 9")
    opened = Gallery.open(saved.directory)
    assert len(opened.photos([3, 5])) == 2
    with pytest.raises(ValueError, match="row 4 of the photo table is damaged"):
        opened.photos([4])
    with pytest.raises(ValueError, match="row 9 of the photo table is damaged: it is not there"):
        opened.photos([9])


def test_the_photo_table_is_read_only(saved):
    opened = Gallery.open(saved.directory)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened.table.execute("DELETE FROM photos")
    with pytest.raises(ValueError, match="read-only"):
        opened.descriptors[0, 0] = 1


def test_photos_at_one_spot_keep_their_order(make_inputs):
    inputs = make_inputs(400)
    inputs["lat"][:], inputs["lon"][:] = 48.0, np.arange(400) % 2
    kept = Gallery.in_memory(**inputs)
    found = [int(photo["key"].removeprefix("photo")) for photo in kept.photos(range(400))]
    for spot in (0, 1):
        assert [source for source in found if source % 2 == spot] == list(range(spot, 400, 2))
        first, last = kept.slices(s2.cell_ids(48.0, spot))[0]
        assert last - first == 200
