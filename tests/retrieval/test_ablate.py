"""A grid of settings: read, run, gone on with, and shown."""

import csv
import json

import pytest

from data.toy.city import make_toy_city
from retrieval import ablate
from retrieval.ablate import cells_of, main, name_of, read_grid


def test_a_grid_is_read_with_its_kinds():
    grid = read_grid(["lr=1e-5,1e-4", "img_size=96x128,224", "freeze_norms=true,false"])
    assert grid == {
        "lr": [1e-5, 1e-4],
        "img_size": [(96, 128), (224,)],
        "freeze_norms": [True, False],
    }
    cells = cells_of(grid)
    assert len(cells) == 8
    assert cells[1] == {"lr": 1e-5, "img_size": (96, 128), "freeze_norms": False}
    assert name_of(cells[0]) == "lr-1e-05_img_size-96x128_freeze_norms-True"
    assert len({name_of(cell) for cell in cells}) == 8


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("lr", "not of the form"),
        ("lr=", "not of the form"),
        ("speed=1", "is none of"),
        ("data=a", "is none of"),
        ("lr=fast", "no float"),
        ("optimizer=lion", "none of adam, sgd"),
        ("lr=1,1", "twice"),
    ],
)
def test_a_wrong_grid_is_refused(part, reason):
    with pytest.raises(ValueError, match=reason):
        read_grid([part])
    with pytest.raises(ValueError, match="twice"):
        read_grid(["lr=1", "lr=2"])


@pytest.fixture
def town(tmp_path):
    make_toy_city(tmp_path / "toy", (1, 1), step_m=25.0, queries=4, size=(32, 32))
    return tmp_path / "toy"


def test_finished_cells_are_not_run_again(town, tmp_path, monkeypatch, capsys):
    tiny = (
        "--img_size 32 --queries_per_epoch 2 --cache_refresh_rate 2 --negatives 1 --epochs 1 "
        "--negatives_pool 4 --train_batch 2 --device cpu --workers 0 --aggregation gem"
    )
    arguments = ["--data", str(town), "--out", str(tmp_path / "grid"), *tiny.split()]
    grid = ["--grid", "lr=1e-5,1e-3"]
    ran = []
    train_and_test = ablate._train_and_test

    def counted(recipe, folder, split):
        ran.append(recipe.lr)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return train_and_test(recipe, folder, split)

    monkeypatch.setattr(ablate, "_train_and_test", counted)
    with pytest.raises(KeyboardInterrupt):
        main([*arguments, *grid])
    assert main([*arguments, *grid]) == 0
    assert ran == [1e-5, 1e-3, 1e-3]
    out = tmp_path / "grid"
    rows = list(csv.DictReader((out / "ablation.csv").open()))
    assert [row["lr"] for row in rows] == ["1e-05", "0.001"]
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*/result.json"))]
    of_table = {row["lr"]: float(row["R@1 percent"]) for row in rows}
    for result in results:
        shown = of_table[str(result["cell"]["lr"])]
        assert shown == pytest.approx(result["recalls"]["R@1"]["percent"], abs=0.01)
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("| 0.001 |") == 1
    assert main([*arguments, *grid, "--margin", "0.3"]) == 2
    assert "made with other settings" in capsys.readouterr().err
