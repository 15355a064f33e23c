"""From an encoding to a fix: the gate, the area, the levels, the radius, the notes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from models.bundles.session import Encoding
from models.evaluation.calibration import Calibration
from partitioning import s2
from partitioning.geodesy import haversine_km
from partitioning.partition import LEVELS, build_partition
from retrieval.answering.decision import Street, World, decide
from retrieval.answering.reranking import Reranking
from retrieval.area import cells_in_area, in_area
from retrieval.gallery import Gallery

DIM = 12
CALIBRATED = Calibration(1.0, ((0.5, 0.6), (0.9, 0.95), (0.95, np.inf)), 0.0, 40)


@pytest.fixture(scope="session")
def pacific():
    """Cells on both sides of the antimeridian."""
    rng = np.random.default_rng(3)
    lat = rng.uniform(-45, 45, 2000)
    lon = (rng.uniform(150, 210, 2000) + 180) % 360 - 180
    t = {"coarse": (5, 400), "middle": (5, 150), "fine": (5, 50)}
    return build_partition(lat, lon, t)


@pytest.fixture
def world(partition):
    return World(partition, LEVELS, Calibration())


@pytest.fixture
def encode():
    """An encoding whose fine level likes the given cells, in that order; others it does not."""

    def make(world, *liked, gap=1.0, descriptor=None):
        logits = {name: np.zeros(len(world.partition.levels[name]), np.float32) for name in LEVELS}
        logits["fine"][:] = -40.0
        logits["fine"][list(liked)] = gap * np.arange(len(liked))[::-1]
        unit = np.eye(DIM)[0] if descriptor is None else descriptor
        return Encoding(logits, np.zeros(3, np.float32), unit.astype(np.float32))

    return make


@pytest.fixture
def street_at(model_sha256):
    """A gallery with random looks at the given positions."""

    def make(world, lat, lon, seed=0):
        looks = np.random.default_rng(seed).standard_normal((len(lat), DIM))
        facts = [{"key": f"g{i}", "author": "A", "licence": "CC0"} for i in range(len(lat))]
        return Street(Gallery.in_memory(looks, lat, lon, facts, model_sha256, 40.0), world)

    return make


@pytest.fixture
def street(world, street_at):
    """Three photos in each cell and as many far from all."""
    cells = world.cells
    lat, lon = np.repeat(cells.lat, 3), np.repeat(cells.lon, 3)
    away = np.random.default_rng(1).uniform(-2, 2, (20, 2)) + np.array([0, -160])
    return street_at(world, np.r_[lat, away[:, 0]], np.r_[lon, away[:, 1]])


def searched(world, street, fix, area=None):
    """Keys of the photos in the fix's cells, or in no cell of the model, and in the area."""
    tokens = {cell.token for cell in fix.cells}
    keys = set()
    for row, photo in enumerate(street.gallery.photos(range(len(street.gallery)))):
        leaf = street.gallery.leaf_ids[row : row + 1]
        holders = {
            str(t)
            for t, i in zip(world.cells.tokens, world.cells.ids, strict=True)
            if s2.range_min(np.array([i]))[0] <= leaf[0] <= s2.range_max(np.array([i]))[0]
        }
        inside = (
            area is None or in_area(np.array([photo["lat"]]), np.array([photo["lon"]]), area).all()
        )
        if inside and (not holders or holders & tokens):
            keys.add(photo["key"])
    return keys


def test_only_the_region_and_photos_in_no_cell_are_searched(world, street, encode):
    fix = decide(encode(world, 4, 9, 2), world, street, mass=0.9, top_k=10_000)
    assert [c.token for c in fix.cells] == [str(world.cells.tokens[i]) for i in (4, 9)]
    keys = {match.key for match in fix.matches}
    assert keys == searched(world, street, fix)
    assert 20 < len(keys) < len(street.gallery), "the test's own gate is trivial"
    scores = [match.score for match in fix.matches]
    assert scores == sorted(scores, reverse=True)
    top = decide(encode(world, 4, 9, 2), world, street, mass=0.9, top_k=3)
    assert top.matches == fix.matches[:3]


def test_region_is_the_posterior_s_and_grows_with_the_mass(world, encode):
    encoding = encode(world, 7, 1, 3, 5)
    posterior = world.posterior(encoding)
    sizes = []
    for mass in (0.1, 0.7, 0.95):
        fix = decide(encoding, world, mass=mass)
        order = sorted(range(len(posterior)), key=lambda c: -posterior[c])
        total, expected = 0.0, []
        for row in order:
            expected.append(str(world.cells.tokens[row]))
            total += posterior[row]
            if total >= mass - 1e-9:
                break
        assert [c.token for c in fix.cells] == expected
        sizes.append(len(expected))
    assert sizes[0] == 1
    assert sizes == sorted(set(sizes))


def test_a_calibrated_region_stays_within_its_threshold(partition, encode):
    world = World(partition, LEVELS, CALIBRATED)
    encoding = encode(world, 7, 1, 3, 5)
    for mass, threshold in ((0.5, 0.6), (0.7, 0.95), (0.9, 0.95)):
        fix = decide(encoding, world, mass=mass)
        ranked = np.cumsum(np.sort(world.posterior(encoding))[::-1])
        assert len(fix.cells) == max(1, np.sum(ranked <= threshold))
        assert fix.mass == mass


def test_radius_holds_all_cells_of_the_region(world, encode):
    for liked in ((0,), (3, 4), (0, 20, 40)):
        fix = decide(encode(world, *liked, gap=0.1), world, mass=1.0)
        ids = s2.from_tokens(cell.token for cell in fix.cells)
        outline = s2.boundaries(ids, 5).reshape(-1, 2)
        away = haversine_km(fix.lat, fix.lon, outline[:, 0], outline[:, 1])
        if fix.radius_km < 10_000:  # beyond a quarter of the globe edges bulge past their corners
            assert away.max() <= fix.radius_km + 1e-6
        assert fix.radius_km == pytest.approx(away.max(), rel=1e-3), "larger than needed"


@pytest.mark.parametrize(
    "area",
    [(0.0, 40.0, 9.0, 50.0), (-110.0, -40.0, -95.0, -20.0), (-60.0, 44.9, 60.0, 45.0)],
)
def test_nothing_outside_the_area_is_answered(world, street, encode, area):
    everywhere = range(len(world.cells))
    fix = decide(encode(world, *everywhere, gap=0.01), world, street, 0.9, 10_000, area)
    assert {m.key for m in fix.matches} == searched(world, street, fix, area)
    for place in (fix, *fix.matches):
        assert in_area(np.array([place.lat]), np.array([place.lon]), area).all()
    assert all(cells_in_area(s2.from_tokens(c.token for c in fix.cells), area))
    unrestricted = world.posterior(encode(world, *everywhere, gap=0.01))
    inside = cells_in_area(world.cells.ids, area)
    assert fix.confidence == pytest.approx(unrestricted[inside].max() / unrestricted[inside].sum())
    assert f"{unrestricted[inside].sum():.1%}" in " ".join(fix.notes)


def test_an_area_holds_even_where_the_region_is_to_be_everything(partition, encode):
    world = World(partition, LEVELS, CALIBRATED)
    area = (0.0, 40.0, 9.0, 50.0)
    fix = decide(encode(world, *range(len(world.cells)), gap=0.0), world, mass=0.95, area=area)
    assert len(fix.cells) == cells_in_area(world.cells.ids, area).sum()
    assert sum(c.probability for c in fix.cells) == pytest.approx(1)


def test_an_area_across_the_antimeridian(pacific, street_at, encode):
    world = World(pacific, LEVELS, Calibration())
    street = street_at(world, np.repeat(pacific.fine.lat, 4), np.repeat(pacific.fine.lon, 4))
    area = (172.0, -20.0, -172.0, 20.0)
    fix = decide(encode(world, *range(len(world.cells)), gap=0.0), world, street, 0.9, 999, area)
    assert {m.lon > 0 for m in fix.matches} == {True, False}
    assert {m.key for m in fix.matches} == searched(world, street, fix, area)
    assert in_area(np.array([fix.lat]), np.array([fix.lon]), area).all()
    assert all(abs(m.lon) >= 172 and abs(m.lat) <= 20 for m in fix.matches)


@pytest.mark.parametrize(
    ("area", "error"),
    [
        ((-160.0, -45.0, -150.0, -35.0), "none of the model's cells"),
        ((10.0, 50.0, 20.0, 40.0), "south above its north"),
        ((10.0, 40.0, 200.0, 50.0), "leaves the map"),
        ((np.nan, 40.0, 20.0, 50.0), "four numbers"),
    ],
)
def test_a_useless_area_is_refused_with_and_without_gallery(world, street, encode, area, error):
    for gallery in (None, street):
        with pytest.raises(ValueError, match=error):
            decide(encode(world, 1), world, gallery, area=area)


@pytest.mark.parametrize("mass", [0, -0.1, 1.1, float("nan")])
def test_a_mass_that_is_no_probability_is_refused(world, encode, mass):
    with pytest.raises(ValueError, match="mass must lie"):
        decide(encode(world, 1), world, mass=mass)


def test_top_k_below_one_is_refused(world, street, reranked_street, encode):
    for searched_in in (street, reranked_street(2)):
        with pytest.raises(ValueError, match="1 or more"):
            decide(encode(world, 1), world, searched_in, top_k=0)


def test_street_where_the_match_stands_out_else_cell_else_unknown(world, street, encode):
    row = int(street.gallery.slices(world.cells.ids[4:5])[0, 0])
    same = street.gallery.descriptors[row].astype(np.float64)
    found = decide(encode(world, 4, descriptor=same), world, street)
    assert found.level == "street"
    assert (found.lat, found.lon) == (street.gallery.lat[row], street.gallery.lon[row])
    assert found.radius_km == 0.04
    assert found.matches[0].facts == {"author": "A", "licence": "CC0"}
    look = np.random.default_rng(5).standard_normal(DIM)
    refused = decide(encode(world, 4, descriptor=look), world, street)
    assert refused.level == "cell"
    assert (refused.lat, refused.lon) == (world.cells.lat[4], world.cells.lon[4])
    assert refused.matches, "shown all the same"
    assert "best match refused" in refused.notes[-1]
    doubtful = dataclasses.replace(world, calibration=Calibration(floor=0.9))
    encoding = encode(world, 4, 5, gap=0.1, descriptor=look)
    assert decide(encoding, doubtful, street).level == "unknown"
    assert decide(encode(world, 4, descriptor=same), doubtful, street).level == "street"


class LastFirst:
    """Finds each match more alike than the one before it."""

    def maps(self, query):
        return np.zeros((1, 1, 1), np.float32)

    def scores(self, maps, paths):
        return np.arange(len(paths), dtype=np.float64)


@pytest.fixture
def reranked_street(world, model_sha256):
    """Two photos of one look in each of 40 cells, and a re-ranker that turns the order round."""

    def make(top):
        lat, lon = np.repeat(world.cells.lat[:40], 2), np.repeat(world.cells.lon[:40], 2)
        looks = np.random.default_rng(2).standard_normal((40, DIM)).repeat(2, axis=0)
        looks[1::2] += 0.02
        facts = [{"key": f"g{i}", "path": f"{i}.jpg"} for i in range(80)]
        gallery = Gallery.in_memory(looks, lat, lon, facts, model_sha256)
        return Street(gallery, world, reranking=Reranking(LastFirst(), Path(), top))

    return make


def test_the_best_match_after_re_ranking_decides_by_its_own_score(world, reranked_street, encode):
    street = reranked_street(2)
    plain = Street(street.gallery, world)
    look = np.asarray(street.gallery.descriptors[10], dtype=np.float64)
    home = int(world.cells.assign_ids(street.gallery.leaf_ids[10:11])[0])
    encoding = encode(world, home, 30, gap=0.1, descriptor=look)._replace(
        maps=np.zeros((1, 1, 1), np.float32)
    )
    before, after = decide(encoding, world, plain), decide(encoding, world, street)
    assert len(before.matches) == len(after.matches) == 4
    expected = [before.matches[i] for i in (1, 0, 2, 3)]
    assert list(after.matches) == expected, "each with the score that it was found by"
    assert after.level == "street"
    row = [p["key"] for p in street.gallery.photos(range(80))].index(after.matches[0].key)
    standout = street.novelty.standout(encoding.descriptor, row, after.matches[0].score)
    assert after.confidence == pytest.approx(1 - street.novelty.p_value(standout))
    assert "the first 2 matches were re-ranked" in " ".join(after.notes)
    assert before.notes == after.notes[:-1]
    worst = decide(encoding, world, reranked_street(4))
    assert worst.matches == before.matches[::-1]
    assert worst.level == "cell", "the one that decides looks like wrong matches do"


def test_matches_deeper_than_those_returned_can_come_up(world, reranked_street, encode):
    encoding = encode(world, 4, 9, gap=0.1)._replace(maps=np.zeros((1, 1, 1), np.float32))
    whole = decide(encoding, world, reranked_street(3))
    assert len(whole.matches) == 4
    one = decide(encoding, world, reranked_street(3), top_k=1)
    assert one.matches == whole.matches[:1]


def test_nothing_found_is_nothing_re_ranked(world, reranked_street, encode):
    fix = decide(encode(world, 45), world, reranked_street(3))
    assert fix.matches == ()
    assert "holds no photo inside the region" in fix.notes[-1]
    assert "re-ranked" not in " ".join(fix.notes)


def test_a_gallery_too_small_to_judge_says_so(world, street_at, encode):
    cells = world.cells
    for photos in (1, 10):
        street = street_at(world, cells.lat[:photos], cells.lon[:photos])
        same = street.gallery.descriptors[0].astype(np.float64)
        home = int(cells.assign_ids(street.gallery.leaf_ids[:1])[0])
        fix = decide(encode(world, home, descriptor=same), world, street)
        assert fix.level == "cell"
        assert fix.matches[0].score == pytest.approx(1, abs=1e-3)
        assert "too small to accept a match" in fix.notes[-1]


def test_an_empty_gate_leaves_the_cells_answer_and_a_note(world, street_at, encode):
    street = street_at(world, world.cells.lat[:1], world.cells.lon[:1])
    encoding = encode(world, 30)
    fix = decide(encoding, world, street)
    assert fix.matches == ()
    assert "holds no photo inside the region" in fix.notes[-1]
    cells_alone = decide(encoding, world)
    assert (fix.lat, fix.lon, fix.cells) == (cells_alone.lat, cells_alone.lon, cells_alone.cells)


def test_calibration_is_told(world, partition, encode):
    fix = decide(encode(world, 1, 2), world)
    assert not fix.calibrated
    assert "not calibrated" in fix.notes[0]
    calibrated = World(partition, LEVELS, CALIBRATED)
    fix = decide(encode(world, 1, 2), calibrated, mass=0.9)
    assert fix.calibrated
    assert fix.notes == ()
    unattainable = decide(encode(world, 1, 2), calibrated, mass=0.95)
    assert not unattainable.calibrated
    assert "40 validation photos" in unattainable.notes[-1]
    assert len(unattainable.cells) == len(partition.fine)


def test_scenes_only_where_the_model_knows_them(world, encode):
    encoding = encode(world, 1)._replace(scene=np.log(np.array([0.2, 0.3, 0.5], np.float32)))
    assert decide(encoding, world).scene == {}
    scene = decide(encoding, dataclasses.replace(world, knows_scenes=True)).scene
    assert scene == pytest.approx({"indoor": 0.2, "natural": 0.3, "urban": 0.5}, abs=1e-6)


def test_an_area_that_only_the_gallery_reaches_is_answered_by_it(world, street_at, encode):
    area = (-150.0, -60.0, -140.0, -50.0)
    assert not cells_in_area(world.cells.ids, area).any()
    far = street_at(
        world, np.r_[np.linspace(40, 50, 39), -55.0], np.r_[np.linspace(0, 10, 39), -145]
    )
    look = np.asarray(far.gallery.descriptors[np.argmin(far.gallery.lat)], dtype=np.float32)
    fix = decide(encode(world, 0, descriptor=look), world, far, area=area)
    assert (fix.level, len(fix.matches)) == ("street", 1)
    assert (fix.lat, fix.lon) == pytest.approx((-55, -145))
    other = decide(encode(world, 0, descriptor=-look), world, far, area=area)
    assert other.level == "unknown"
    assert in_area(np.array([other.lat]), np.array([other.lon]), area).all()
    assert other.cells == ()
    assert other.region_geojson["features"] == []
    assert any("only the gallery" in note for note in other.notes)
