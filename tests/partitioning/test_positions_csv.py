"""Positions from CSVs: synonyms, exact numbers, refused rows."""

import numpy as np
import pytest

from partitioning.positions_csv import read_positions


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "photos.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_good_rows_come_through_exactly(csv):
    table, refused = read_positions(csv("IMG_ID,LAT,LON\na,48.13743,11.57549\nb,-90,180\n"))
    assert table["id"].tolist() == ["a", "b"]
    assert table["lat"].tolist() == [48.13743, -90.0]
    assert table["lon"].tolist() == [11.57549, 180.0]
    assert table["lat"].dtype == table["lon"].dtype == np.float64
    assert list(refused) == ["row", "id", "reason"]
    assert refused.empty


def test_positions_are_parsed_to_the_last_bit(csv):
    lat = np.random.default_rng(0).uniform(-90, 90, 2000)
    rows = "".join(f"p{k},{value!r},0\n" for k, value in enumerate(lat.tolist()))
    for last in ("", "q,unknown,0\n"):  # a text in the column takes another way
        table, _ = read_positions(csv("id,lat,lon\n" + rows + last))
        np.testing.assert_array_equal(table["lat"], lat)


@pytest.mark.parametrize(
    "names",
    [("IMG_ID", "LAT", "LON"), ("image_id", "latitude", "lng"), ("id", "lat", "longitude")],
)
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_synonyms_in_any_case(csv, names, case):
    text = ",".join(case(name) for name in names) + ",author\nx,1,2,someone\n"
    table, _ = read_positions(csv(text))
    assert table.to_dict("records") == [{"id": "x", "lat": 1, "lon": 2, "author": "someone"}]


def test_ids_stay_as_they_stand(csv):
    table, _ = read_positions(csv("id,lat,lon\n007,1,2\nNA,1,2\n 12 ,1,2\n1e5,1,2\n"))
    assert table["id"].tolist() == ["007", "NA", "12", "1e5"]


def test_refused_rows_are_listed_with_row_id_and_reason(csv):
    rows = ["a,,3", "b,x,3", "c,100,20", "d,95,190", ",1,2", "e,1,2", "e,3,4", "f,nan,1", "a,5,6"]
    table, refused = read_positions(csv("\n".join(["id,lat,lon", *rows])))
    assert table["id"].tolist() == ["e", "a"], "a bad row must not cost the good one of its id"
    assert refused.to_dict("records") == [
        {"row": 1, "id": "a", "reason": "missing"},
        {"row": 2, "id": "b", "reason": "lat is not a number"},
        {"row": 3, "id": "c", "reason": "swapped?"},
        {"row": 4, "id": "d", "reason": "out of range"},
        {"row": 5, "id": "", "reason": "missing id"},
        {"row": 7, "id": "e", "reason": "duplicate id"},
        {"row": 8, "id": "f", "reason": "missing"},
    ]


def test_of_many_repeated_ids_the_first_usable_counts(csv):
    rng = np.random.default_rng(1)
    rows = [(f"p{i}", lat) for i, lat in rng.integers(-120, 2000, (5000, 2)) % [2000, 120]]
    table, refused = read_positions(
        csv("\n".join(["id,lat,lon", *(f"{photo},{lat},200" for photo, lat in rows)]))
    )
    assert table.empty
    table, refused = read_positions(
        csv("\n".join(["id,lat,lon", *(f"{photo},{lat},150" for photo, lat in rows)]))
    )
    seen, doubled = set(), []
    for number, (photo, lat) in enumerate(rows, 1):
        if lat <= 90:
            doubled += [number] * (photo in seen)
            seen.add(photo)
    assert sorted(table["id"]) == sorted(seen)
    assert refused.loc[refused["reason"] == "duplicate id", "row"].tolist() == doubled


def test_all_rows_refused_is_an_empty_table(csv):
    table, refused = read_positions(csv("id,lat,lon\na,,\n"))
    assert len(table) == 0
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("id,lat,lon\n", "a header but no rows"),
        ("id,lat,long\na,1,2\n", "no column for lon; found id, lat, long; accepted .* lng"),
        ("id,img_id,lat,lon\na,a,1,2\n", "id and img_id both mean id"),
        ("id,lat,lon\na,1,2,3\nb,1,2,3\n", "more fields than the header"),
        (b"id,lat,lon\n\xff\xfe\xfa,1,2\n", "not a CSV in UTF-8"),
    ],
)
def test_unusable_files_are_refused_by_name(csv, text, message):
    with pytest.raises(ValueError, match=rf"photos\.csv: .*{message}"):
        read_positions(csv(text))


def test_byte_order_mark_and_windows_lines(csv):
    table, _ = read_positions(csv(b"\xef\xbb\xbfid,lat,lon\r\na,1,2\r\n"))
    assert table["id"].tolist() == ["a"]


def test_names_of_authors_stay_as_they_stand(csv):
    rows = [
        "a,1,2,10158843219384757,00123,07,10158843219384757",
        "b,1,2,,00124,,",
        "c,1,2,7.0,,8,5",
    ]
    text = "\n".join(["id,lat,lon,Author,sequence,count,number", *rows])
    table, _ = read_positions(csv(text))
    assert table["Author"].fillna("").tolist() == ["10158843219384757", "", "7"]
    assert table["sequence"].fillna("").tolist() == ["00123", "00124", ""]
    assert table["count"].tolist()[::2] == [7, 8]
    assert np.isnan(table["count"][1]), "numbers are still numbers"
    number = table["number"].fillna("").tolist()
    assert number == ["10158843219384757", "", "5"], "no float holds it"
