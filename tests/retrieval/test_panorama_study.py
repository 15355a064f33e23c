"""The study of tiles: margins by hand, neighbours, intervals over panoramas, the command."""

import csv

import numpy as np
import pytest
import simplejpeg
import torch

from data.panoramas.listing import Source, find_sources
from retrieval import panorama_study
from retrieval.panoramas.scores import mean_of, neighbours, recall_of, score
from retrieval.panoramas.views import Described, Views, describe_panoramas

VIEWS = Views((60.0,), (2, 4), 3, (16, 16))


def made_up(count, views=VIEWS, dim=8, seed=0):
    random = np.random.default_rng(seed)

    def vectors(*shape):
        found = random.standard_normal((*shape, dim)).astype(np.float32)
        return found / np.linalg.norm(found, axis=-1, keepdims=True)

    shape = 3, len(views.fovs_deg), len(views.yaws_deg)
    return [Described(vectors(*shape), vectors(views.queries)) for _ in range(count)]


def test_tiles_of_fewer_are_some_of_those_of_more():
    views = Views(counts=(6, 8, 10, 12))
    assert len(views.yaws_deg) == 24
    assert [views.yaws_deg[row] for row in views.rows(8)] == [45 * i for i in range(8)]
    assert views.query_yaws_deg("a") == views.query_yaws_deg("a") != views.query_yaws_deg("b")


def test_neighbours_need_positions():
    sources = [
        Source("a", None, 48.77, 9.17),
        Source("b", None, 48.7703, 9.17),  # 33 m
        Source("c", None, 48.78, 9.17),
        Source("d", None),
    ]
    found = neighbours(sources, 60)
    assert (
        found.tolist()
        == [[False, True, False, False], [True, False, False, False]] + [[False] * 4] * 2
    )


def test_margins_against_a_loop():
    described = made_up(5)
    is_near = np.zeros((5, 5), bool)
    is_near[0, 1] = is_near[1, 0] = True
    cells = {(c.task, c.kind, c.tiles): c for c in score(described, is_near, VIEWS)}
    for task in ("same", "next"):
        for kind, name in enumerate(("undistorted", "plain", "band")):
            for count in (2, 4):
                per_panorama, hits = [], []
                for n in range(5):
                    rights = [n] if task == "same" else np.flatnonzero(is_near[n]).tolist()
                    if not rights:
                        continue
                    wrongs = [m for m in range(5) if m != n and not is_near[n, m]]
                    margins = []
                    for query in described[n].queries:
                        best = [
                            max(
                                float(query @ described[m].tiles[kind, 0, row])
                                for row in VIEWS.rows(count)
                            )
                            for m in range(5)
                        ]
                        margins.append(max(best[m] for m in rights) - max(best[m] for m in wrongs))
                    per_panorama.append(np.mean(margins))
                    hits.append(np.mean(np.array(margins) > 0))
                cell = cells[task, name, count]
                assert cell.panoramas == len(per_panorama)
                assert cell.margin.value == pytest.approx(np.mean(per_panorama), abs=1e-5)
                assert cell.recall.value == pytest.approx(np.mean(hits))


def test_of_two_panoramas_there_is_no_interval():
    assert "no interval" in str(mean_of(np.array([0.1, 0.2])))
    mean = mean_of(np.array([0.1, 0.2, 0.3]))
    assert 0.1 <= mean.low <= mean.value <= mean.high <= 0.3


def test_recall_without_a_miss_is_not_certain():
    mean = recall_of(np.ones(30))
    assert mean.value == mean.high == 1
    assert mean.low == pytest.approx(30 / (30 + 1.96**2), abs=1e-3)  # Wilson's, by hand
    assert recall_of(np.zeros(30)).high == pytest.approx(1 - mean.low)


@pytest.fixture
def panoramas(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = ["image_id,lat,lon"]
    for i in range(3):
        pixels = np.kron(random.integers(0, 256, (4, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        (folder / f"p{i}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels))
        rows.append(f"p{i},{48.77 + (i > 1):.4f},9.17")
    (folder / "flat.jpg").write_bytes(simplejpeg.encode_jpeg(np.zeros((20, 30, 3), np.uint8)))
    (tmp_path / "photos.csv").write_text("\n".join([*rows, "flat,1,2"]))
    return tmp_path / "photos.csv"


def test_the_command_writes_tables_and_a_plot(panoramas, tmp_path, monkeypatch, capsys):
    from models.places.embedder import Embedder

    def run(data):
        torch.manual_seed(0)  # the same weights, as trained ones would be
        return panorama_study.main(["--data", str(data), "--output", str(out), *flags])

    monkeypatch.setattr(Embedder.__init__, "__defaults__", (False,))  # no weights: it is quicker
    panoramas = move(panoramas)
    flags = ["--hfov_deg", "60", "--tiles", "2", "3", "--queries", "2", "--size", "32", "32"]
    out = tmp_path / "out"
    assert run(panoramas) == 0
    said = capsys.readouterr().out
    assert "4 queries of 2 panoramas" in said
    assert "an illustration, not evidence" in said
    assert "passed by: 1" in said
    with (out / "study.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 2  # tasks, kinds, numbers of tiles
    assert {row["overlap_deg"] for row in rows} == {"-120", "-60"}
    assert (out / "study.png").stat().st_size > 5000
    kept = sorted((out / "descriptors").iterdir())
    monkeypatch.setattr("retrieval.panoramas.views._pictures", None)  # nothing is described again
    assert run(panoramas) == 0
    assert sorted((out / "descriptors").iterdir()) == kept
    assert panorama_study.main(["--data", str(out), "--output", str(out)]) == 2


def move(table):
    """A table beside its photos."""
    beside = table.parent / "photos" / table.name
    table.rename(beside)
    return beside


def test_descriptors_are_of_the_pictures_they_stand_for(panoramas, tmp_path):
    from data.images import read_rgb
    from data.panorama import undistort
    from models.places.embedder import Embedder, EmbedderSettings
    from retrieval.descriptor_cache import Engine, normal

    torch.manual_seed(0)
    embedder = Embedder(EmbedderSettings(), pretrained=False).eval()
    views = Views((50.0, 80.0), (2,), 1, (32, 32))
    path = panoramas.parent / "photos" / "p0.jpg"
    (found,) = describe_panoramas([Source("p0", path)], views, embedder, Engine(), tmp_path / "d")
    picture = undistort(read_rgb(path), 180, 0, 80, (32, 32))
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = embedder(normal(pixels, embedder, torch.device("cpu")))[0].numpy()
    assert found.tiles[0, 1, 1] @ expected > 0.9999
    assert found.queries.shape == (1, embedder.dim)


def test_other_weights_of_the_same_settings_have_descriptors_of_their_own(panoramas, tmp_path):
    from models.places.embedder import Embedder, EmbedderSettings
    from retrieval.descriptor_cache import Engine

    models = [Embedder(EmbedderSettings(), pretrained=False).eval() for _ in range(2)]
    views, sources = Views((60.0,), (2,), 1, (32, 32)), find_sources(move(panoramas)).photos[:1]
    kept = tmp_path / "kept"
    first, second = (describe_panoramas(sources, views, m, Engine(), kept) for m in models)
    (again,) = describe_panoramas(sources, views, models[0], Engine(), kept)
    assert np.array_equal(again.tiles, first[0].tiles)
    assert not np.allclose(second[0].tiles, first[0].tiles, atol=1e-3)
    assert len(list(kept.iterdir())) == 2
