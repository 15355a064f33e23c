"""Collecting from a server that answers as Panoramax and Mapillary do."""

import csv
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from data.panoramas import listing as panorama_list
from data.panoramas.file import read_panorama
from setup import make_places
from setup.collect_street import collect
from setup.panorama_tiles import Tiling
from setup.street.mapillary import Mapillary
from setup.street.panoramax import Panoramax
from setup.tile_panoramas import tile_panoramas

SMALL = Tiling(tiles=2, size=(12, 16))
BOTH = pytest.mark.parametrize("source", ["panoramax", "mapillary"])


def rows(folder, name="photos.csv"):
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def there(folder):
    return {path.stem for path in folder.glob("*.jpg")}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@BOTH
def test_a_street(run, street, out, source):
    collected = run(source)
    assert collected.photos == collected.listed.photos == 6
    assert collected.is_whole
    assert there(out) == set(street.photos)
    table = pd.read_csv(out / "photos.csv", keep_default_na=False)
    assert table["id"].tolist() == sorted(street.photos)
    assert table["path"].tolist() == [f"{name}.jpg" for name in sorted(street.photos)]
    assert table["lat"].tolist() == [50.001] * 6
    assert table["lon"].tolist() == pytest.approx([8.001 + 0.003 * i for i in range(6)])
    assert table["heading"].tolist() == [90] * 6
    assert set(table["captured_at"]) == {"2020-09-13T12:26:40Z"}
    assert set(table["sequence"]) == {"walk"}
    assert set(table["author"]) == {"Ann"}
    assert table["is_panorama"].tolist() == [0, 0, 0, 0, 0, 1]
    flat = 70 if source == "panoramax" else pytest.approx(90)
    assert table["hfov_deg"].tolist() == [flat] * 5 + [360]
    assert (table["width"] / table["height"]).tolist() == [1.5] * 6


def test_the_metadata_is_a_database(run, out):
    run()
    with closing(sqlite3.connect(out / "ledger.sqlite")) as database:
        within = "lat BETWEEN 50 AND 50.01 AND lon BETWEEN 8 AND 8.005"
        found = database.execute(f"SELECT id, captured_at FROM street WHERE {within} ORDER BY id")
        day = "2020-09-13T12:26:40Z"
        assert found.fetchall() == [("photo0", day), ("photo1", day)]


def test_the_next_steps_read_the_table(run, street, out):
    """`setup.make_places` and `setup.tile_panoramas`, by what they find in it."""
    run()
    found, refused = make_places.find_sources(None, out / "photos.csv")
    assert not refused
    assert [photo.path for photo in found] == [out / f"photo{i}.jpg" for i in range(6)]
    assert {(photo.heading, photo.day, photo.sequence) for photo in found} == {
        (90.0, "2020-09-13", "walk")
    }
    assert {(photo.author, photo.licence) for photo in found} == {("Ann", "CC-BY-SA-4.0")}
    panoramas = panorama_list.find_sources(out / "photos.csv")
    assert [p.path.stem for p in panoramas.photos if p.is_panorama] == ["photo5"]


@BOTH
def test_nothing_that_finished_is_asked_twice(run, street, source):
    run(source)
    street.asked.clear()
    assert run(source).kept == 6
    assert not street.asked


@BOTH
def test_pages(run, street, source):
    """The next page of a search is followed; the `next` of an item is another photo, no page."""
    street.most, street.has_pages = 2, True
    assert run(source).photos == 6
    assert not any("no-page" in path for path in street.server.asked)


def test_an_empty_page_that_leads_on_is_followed(run, street):
    """Services filter after they cut a search into pages: one may be left empty."""
    one_box = ((8.0, 50.0, 8.009, 50.004),)
    search = "/api/search?bbox=8,50,8.009,50.004&limit=1000&page="
    links = [[{"rel": "next", "href": f"{search}{page}"}] for page in ("9", "0")]
    street.raw["bbox"] = [street.json({"features": [], "links": link}) for link in links]
    collected = run(boxes=one_box)
    assert collected.photos == 3
    assert collected.is_whole


def test_a_page_that_leads_to_itself_is_the_last(run, street):
    one_box = ((8.0, 50.0, 8.009, 50.004),)
    link = [{"rel": "next", "href": "/api/search?bbox=8%2C50%2C8.009%2C50.004&page=5"}]
    street.raw["bbox"] = [street.json({"features": [], "links": link})] * 9
    assert run(boxes=one_box).is_whole
    assert len(street.raw["bbox"]) == 7


@BOTH
def test_full_boxes_are_cut(run, street, source, monkeypatch):
    """A server that shows two photos of a box, and links to no more, still shows all of them."""
    street.most = 2
    for service in (Panoramax, Mapillary):
        monkeypatch.setattr(service, "page_items", 2)
    collected = run(source)
    assert collected.photos == 6
    assert not collected.listed.failed
    assert street.widest_deg < 0.01 + 1e-9


def test_more_photos_at_one_spot_than_a_service_shows_is_said(run, street, monkeypatch):
    street.most = 2
    monkeypatch.setattr(Panoramax, "page_items", 2)
    for i in range(3):
        name = f"same{i}"
        street.photos[name] = replace(street.photos["photo0"], id=name)
    collected = run()
    assert collected.photos == 7
    assert collected.listed.failed == {"full box: the service shows no more of it": 1}
    assert "full box" in collected.text(street.server.root)


def test_photos_on_the_edge_of_boxes_count_once(run, street):
    for photo in street.photos.values():
        photo.lon = 8.01  # where two boxes of Panoramax meet
    assert run().photos == 6
    assert set(street.fetched.values()) == {1}


def test_every_date_of_a_place_is_kept(run, street, out):
    one = street.photos["photo0"]
    for year in range(4):
        taken_ms = one.taken_ms + year * 31_622_400_000
        street.photos[f"again{year}"] = replace(one, id=f"again{year}", taken_ms=taken_ms)
    assert run().listed.years == {"2020": 7, "2021": 1, "2022": 1, "2023": 1}
    same = [row for row in rows(out) if row["lon"] == str(one.lon)]
    assert sorted(row["captured_at"][:4] for row in same) == [
        "2020",
        "2020",
        "2021",
        "2022",
        "2023",
    ]


def test_what_cannot_be_used_is_refused_and_counted_once(run, street, monkeypatch):
    street.most, street.has_pages = 3, True
    faults = {
        "nowhere": {"geometry": None},
        "swapped": {"geometry": {"coordinates": [8.001, 500]}},
        "afar": {"geometry": {"type": "Point", "coordinates": [8.3, 50.001]}},
        "dark": {"assets": {}},
        "nameless": {"id": None},
    }
    for name, extra in faults.items():
        street.photos[name] = replace(street.photos["photo0"], id=name, lon=8.01, extra=extra)
    collected = run()
    assert collected.photos == 6
    refused = {"no position": 2, "outside the area": 1, "no picture": 1, "no id": 1}
    assert collected.listed.refused == refused


def test_licences(run, street, plan, out, quick):
    street.photos["photo0"].licence = None
    street.photos["photo1"].licence = "CC-BY-NC-4.0"
    street.photos["photo2"].licence = "etalab-2.0"
    collected = run()
    assert collected.listed.refused == {"no licence": 1, "not an open licence: CC-BY-NC-4.0": 1}
    assert there(out) == {"photo2", "photo3", "photo4", "photo5"}
    kept = collect(plan(out="any", any_licence=True), quick)
    assert kept.photos == 6
    assert kept.listed.licences == {"CC-BY-SA-4.0": 3, "": 1, "CC-BY-NC-4.0": 1, "etalab-2.0": 1}


def test_credits_lie_beside_the_photos(run, street, out):
    street.photos["photo1"].author = "<b>Bo|b</b>\n[x](y)"
    street.photos["photo2"].licence = "etalab-2.0"
    run()
    credit = {row["path"]: row for row in rows(out, "attribution.csv")}
    assert credit.keys() == {path.name for path in out.glob("*.jpg")}
    assert credit["photo0.jpg"]["author"] == "Ann"
    assert credit["photo0.jpg"]["licence"] == "CC BY-SA 4.0"
    assert credit["photo0.jpg"]["licence_url"].endswith("/by-sa/4.0/")
    assert "photo0" in credit["photo0.jpg"]["url"]
    text = (out / "CREDITS.md").read_text()
    assert "- Ann: 4 photos" in text
    assert "Licence Ouverte" in text
    assert "&lt;b&gt;Bo\\|b&lt;/b&gt; \\[x\\]\\(y\\): 1 photo\n" in text


@pytest.mark.parametrize("size", [0, 40])
def test_credits_say_what_was_changed(run, out, size):
    run(size=size)
    text = " ".join((out / "CREDITS.md").read_text().split())
    assert ("scaled down" in text) == ("to a short side of 40 px" in text) == bool(size)
    assert "saved again, without their EXIF data" in text


@pytest.mark.parametrize("size", [0, 10])
def test_a_panorama_of_a_part_of_the_sphere_keeps_its_place_in_it(run, street, out, size, encode):
    """As the service tells it, in pixels of before it was made smaller; saved smaller once more."""
    seen = np.full((20, 60, 3), 200, np.uint8)
    camera = {
        "field_of_view": 360,
        "sensor_array_dimensions": [800, 400],
        "visible_area": [120, 100, 80, 100],  # what is cut off: left, top, right, bottom
    }
    facts = {"license": "CC0-1.0", "pers:interior_orientation": camera}
    street.photos["photo5"].jpg = encode(seen)
    street.photos["photo5"].extra = {"properties": facts}
    run(size=size)
    (source,) = (p for p in panorama_list.find_sources(out / "photos.csv").photos if p.is_panorama)
    panorama, _ = read_panorama(source.path, 0, source.crop)
    height = (size or 20) * 2
    assert panorama.shape == (height, 2 * height, 3)
    expected = np.zeros((height, 2 * height), bool)
    expected[height // 4 : -height // 4, round(0.15 * 2 * height) : -round(0.1 * 2 * height)] = True
    assert ((panorama[..., 0] > 100) == expected).all()
    row = next(row for row in rows(out) if row["id"] == "photo5")
    assert (float(row["hfov_deg"]), row["is_panorama"]) == (270, "1")
    assert all(row["pano_width"] == "" for row in rows(out) if row["id"] != "photo5")
    assert tile_panoramas(out / "photos.csv", out.parent / "tiles", SMALL).tiles == 2


def test_the_token_is_sent_and_never_written_down(run, street, out, token):
    street.most, street.has_pages = 2, True  # its links to next pages hold the token
    run("mapillary")
    sent = [headers.get("Authorization") for headers in street.headers]
    assert f"OAuth {token}" in sent
    pictures = street.asked["picture"]
    assert sent.count(None) == pictures  # which come from elsewhere, and need none
    assert not any("secret" in path for path in street.server.asked)
    for path in out.iterdir():
        assert b"secret" not in path.read_bytes()


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_token_ends_it(run, street, status, token):
    wrong = "MLY|9|wrong-secret"
    with pytest.raises(ValueError, match="refuses the token") as error:
        run("mapillary", token=wrong)
    assert "wrong-secret" not in str(error.value)
    street.raw["bbox"] = [street.json({"error": {"message": token}}, status)]
    with pytest.raises(ValueError, match="refuses the token") as error:
        run("mapillary")
    assert token not in str(error.value)


def test_a_missing_token_is_said_before_anything_is_asked(run, street):
    with pytest.raises(ValueError, match="MAPILLARY_TOKEN"):
        run("mapillary", token="")
    assert not street.headers


def test_links_to_another_server_are_not_followed(run, street):
    link = {"features": [], "links": [{"rel": "next", "href": "http://192.0.2.1/api/search"}]}
    street.raw["bbox"] = [street.json(link)]
    collected = run()
    assert not collected.is_whole
    [cause] = collected.listed.failed
    assert "another server, 192.0.2.1" in cause
    assert run().is_whole


def test_expired_links_to_next_pages_begin_the_box_again(run, street):
    street.most, street.has_pages = 2, True
    street.raw["page=1"] = [street.json({}, 400)]
    assert run().photos == 6


def test_a_box_that_is_begun_again_has_all_its_pages_before_it(run, street, monkeypatch):
    """Two passes of five pages each are no pages without end where six are allowed."""
    for i, photo in enumerate(street.photos.values()):
        photo.lon = 8.001 + 0.001 * i
    street.most, street.has_pages = 1, True
    monkeypatch.setattr("setup.street.listing.MOST_PAGES", 6)
    street.raw["page=4"] = [street.json({}, 400)]
    del street.photos["photo5"]
    collected = run(boxes=((8.0, 50.0, 8.009, 50.004),))
    assert collected.listed.failed == {}
    assert collected.photos == 5


def test_next_pages_that_never_come_and_pages_without_end_are_failures(run, street, monkeypatch):
    one_box = ((8.0, 50.0, 8.009, 50.004),)
    street.most, street.has_pages = 2, True
    street.raw["page=1"] = [street.json({}, 400)] * 9
    collected = run(boxes=one_box)
    assert collected.listed.failed == {"HTTP 400": 1}
    assert collected.photos == 2
    del street.raw["page=1"]
    monkeypatch.setattr("setup.street.listing.MOST_PAGES", 4)
    links = [[{"rel": "next", "href": f"/api/search?bbox=x&page={i}"}] for i in range(50)]
    street.raw["bbox"] = [street.json({"features": [{}], "links": link}) for link in links]
    collected = run(boxes=one_box, out="other")
    assert collected.listed.failed == {"strange answer: pages without end": 1}
    assert len(street.raw["bbox"]) == 50 - 4  # what never ends is not begun again


@BOTH
def test_answers_that_are_none(run, street, source):
    """Garbage, nested garbage and errors: asked again, then the box waits for the next run."""
    garbage = [street.bytes(b"<html>"), street.bytes(b"[" * 100_000), street.status_503]
    street.raw["bbox"] = list(garbage)
    one_box = ((8.0, 50.0, 8.0045, 50.004),)
    assert run(source, boxes=one_box).photos == 2
    street.raw["bbox"] = [*garbage, street.bytes(b"null")]
    collected = run(source, boxes=one_box, out="other")
    assert not collected.is_whole
    assert collected.listed.failed == {"strange answer: no JSON": 1}
    street.asked.clear()
    assert run(source, boxes=one_box, out="other").photos == 2
    assert street.asked == {"search": 1, "picture": 2}


def test_a_search_that_is_too_much_for_the_service_is_cut(run, street):
    street.raw["bbox"] = [street.json({"error": {"message": "reduce", "code": 1}}, 500)] * 4
    collected = run("mapillary")
    assert collected.photos == 6
    assert collected.is_whole


def test_a_service_that_fails_on_end_is_left_alone(run, street):
    street.raw["bbox"] = [street.status_503] * 10_000
    wide = ((8.0, 50.0, 8.2, 50.05),)
    with pytest.raises(OSError, match="failed 20 times on end: HTTP 503"):
        run(boxes=wide)


def test_retry_after_is_obeyed(run, street, quick):
    patient = replace(quick, limits=replace(quick.limits, longest_pause_s=10))
    street.raw["bbox"] = [street.json({}, 429, Retry_After=1)]
    arrivals = []
    street.on_search = lambda now: arrivals.append(now)
    assert run(settings=patient).photos == 6
    assert max(later - arrivals[0] for later in arrivals) >= 1
    street.raw["bbox"] = [street.json({}, 429, Retry_After=3600)]
    with pytest.raises(OSError, match="pause of 3,600 s"):
        run(out="other")


@pytest.mark.parametrize("status", [403, 404, 410])
def test_expired_picture_urls_are_renewed(run, street, status):
    run("mapillary", is_dry=True)
    street.signature, street.expired_status = 2, status
    street.asked.clear()
    assert run("mapillary").photos == 6
    assert street.asked == {"picture": 12, "item": 6}


def test_photos_that_go_before_they_are_fetched(run, street, out):
    run("mapillary", is_dry=True)
    street.signature = 2
    del street.photos["photo3"]
    collected = run("mapillary")
    assert collected.photos == 5
    assert collected.failures == {"gone at the source": 1}
    assert "photo3" not in [row["id"] for row in rows(out)]


def test_opted_out_pictures_are_left_out(run, street):
    jpg = street.photos["photo0"].jpg
    street.raw["/img/photo0"] = [street.bytes(jpg, X_Robots_Tag="noai")]
    assert run().failures == {"opted out": 1}


@BOTH
def test_refresh(run, street, out, source, picture, encode):
    """What is gone or closed goes, a new version comes, what a search left out stays."""
    run(source)
    before = {path.name: path.read_bytes() for path in out.glob("*.jpg")}
    del street.photos["photo0"]
    street.photos["photo1"].jpg = encode(picture(60, 90, seed=99))  # say, a face was blurred
    street.photos["photo2"].lat = 50.1  # no search of the area lists it
    street.photos["photo3"].licence = "CC-BY-NC-4.0"  # of all photos of Mapillary it stays BY-SA
    if source == "mapillary":
        street.signature = 2
    collected = run(source, boxes=(), is_refresh=True)
    gone = {"photo0", "photo3"} if source == "panoramax" else {"photo0"}
    assert collected.removed == len(gone)
    assert there(out) == {row["id"] for row in rows(out)} == {f"photo{i}" for i in range(6)} - gone
    assert (out / "photo1.jpg").read_bytes() != before["photo1.jpg"]
    assert (out / "photo4.jpg").read_bytes() == before["photo4.jpg"]
    assert f"{len(gone)} removed" in collected.text(out)
    street.asked.clear()
    assert run(source).photos == 6 - len(gone)
    assert not street.asked  # what is gone is not asked for again


def test_photos_that_come_back_come_back(run, street, out):
    run()
    photo = street.photos.pop("photo0")
    assert run(is_refresh=True).removed == 1
    street.photos["photo0"] = photo
    assert run(is_refresh=True).photos == 6
    assert "photo0" in there(out)


def test_a_refresh_that_cannot_tell_removes_nothing_and_goes_on(run, street, out):
    run()
    street.photos["photo0"].lat = 50.1
    street.raw["ids="] = [street.status_503] * 4
    collected = run(is_refresh=True)
    assert not collected.is_whole
    assert len(there(out)) == 6
    del street.photos["photo0"]
    assert run().removed == 1  # the same refresh, gone on with


def test_a_dry_run_fetches_no_picture(run, street, out):
    collected = run(is_dry=True)
    assert street.asked["picture"] == 0
    assert not there(out)
    text = collected.listed.text()
    assert "6 photos, 1 of them panoramas; 1 sequences of 1 authors" in text
    assert "2020 6" in text
    assert "6 CC-BY-SA-4.0" in text
    street.asked.clear()
    assert run().photos == 6
    assert street.asked == {"picture": 6}


def test_too_many_photos(run, street):
    with pytest.raises(ValueError, match=r"over 2 photos.*raise --max_photos"):
        run(most_photos=2)
    assert street.asked["picture"] == 0
    assert run(most_photos=6).photos == 6


def test_another_area_adds_to_the_folder(run, street, out):
    run(boxes=((8.0, 50.0, 8.005, 50.005),))
    assert there(out) == {"photo0", "photo1"}
    run(boxes=((8.0, 50.0, 8.012, 50.005),))
    assert there(out) == {"photo0", "photo1", "photo2", "photo3"}


def test_a_folder_is_gone_on_with_as_it_was_begun(run):
    run()
    with pytest.raises(ValueError, match="begun with source panoramax, not mapillary"):
        run("mapillary")
    with pytest.raises(ValueError, match="begun with size 1024, not 64"):
        run(size=64)
    with pytest.raises(ValueError, match="begun with any_licence False"):
        run(any_licence=True)


def test_private_addresses_are_refused_unless_allowed(run, quick):
    collected = run(settings=replace(quick, allow_private=False))
    assert collected.photos == 0
    [cause] = collected.listed.failed
    assert cause.startswith("blocked address")
