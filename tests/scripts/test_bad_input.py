"""What a run cannot be trained on is said in one line, with the way out."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import simplejpeg

from data.seg_maps.classes import SegClasses
from data.sharding.index_tables import (
    INDEX,
    INDEX_SCHEMA,
    MANIFEST,
    MANIFEST_SCHEMA,
    read_table,
    write_tables,
)
from data.shards import ShardWriter
from partitioning import partition as partition_file
from partitioning.partition import build_partition

T = {"coarse": (2, 40), "middle": (2, 20), "fine": (2, 10)}
TABLES = ((INDEX, INDEX_SCHEMA), (MANIFEST, MANIFEST_SCHEMA))
JPG = simplejpeg.encode_jpeg(np.full((40, 40, 3), 128, np.uint8))


@pytest.fixture
def data(shards, tmp_path):
    """A copy of the synthetic shards, to be spoilt."""
    return shutil.copytree(shards, tmp_path / "data")


@pytest.fixture
def refused(train, data):
    """`refused(flags) -> the one line`."""

    def run(flags="", where=None):
        code, out, error = train("bad", f"--epochs 1 {flags}", where or data)
        assert (code, error.count("\n")) == (2, 1), error
        assert not (out / "config.json").exists()
        return error.removeprefix("error: ")

    return run


def name_classes(data, split, count, source="a network"):
    """Say in a manifest what the maps' classes are."""
    names = tuple(f"{source} {i}" for i in range(count))
    classes = SegClasses(names, ((0, 0, 0),) * count, source)
    tables = [read_table(data / split / f, s) for f, s in TABLES]
    write_tables(data / split, *tables, classes)


def test_fewer_channels_than_classes_of_the_maps(refused, data):
    assert "does not say how many classes" in refused("--seg_channels 0")
    name_classes(data, "train", 9)
    assert "have 9 classes" in refused("--seg_channels 8")
    name_classes(data, "val", 9, "another")
    assert "(a network and another)" in refused("--seg_channels 9")


def cut_cells(data, rows):
    """Leave out rows of cells.parquet: those of which `rows(level, class_id)` is true."""
    from data.index import Index

    train = Index.open(data / "train")
    path = data / "cells.parquet"
    partition_file.save(build_partition(train.lat, train.lon, T), path)
    table = pq.read_table(path)
    kept = [
        not rows(level, number)
        for level, number in zip(
            *(table[c].to_pylist() for c in ("level", "class_id")), strict=True
        )
    ]
    pq.write_table(table.filter(np.array(kept)), path)
    return path


def test_cells_without_their_parents(refused, data):
    path = cut_cells(data, lambda level, number: level == "middle")
    assert str(path) in refused()


def test_cells_of_a_level_that_are_not_all_there(refused, data):
    path = cut_cells(data, lambda level, number: level == "fine" and number == 3)
    assert str(path) in refused()


def test_a_file_of_cells_that_is_none(refused, data):
    (data / "cells.parquet").write_bytes(b"PAR1 no")
    assert str(data / "cells.parquet") in refused()


def test_other_cells_than_the_checkpoints(train, data):
    """The heads of the run to resume have other classes than the file now says."""
    assert train("cells", "--epochs 1 --inputs rgb", data)[0] == 0
    from data.index import Index

    index = Index.open(data / "train")
    partition_file.save(
        build_partition(index.lat, index.lon, {**T, "fine": (2, 6)}), data / "cells.parquet"
    )
    code, _, error = train("cells", "--epochs 2 --inputs rgb --resume", data)
    assert (code, "had cells" in error, "start a new run" in error) == (2, True, True)


def write(folder, count, **metadata):
    with ShardWriter(folder) as writer:
        for i in range(count):
            writer.write(f"p{i}", JPG, {"lat": 1.0, "lon": 1.0 + i / 100, **metadata}, None)


@pytest.mark.parametrize("split", ["train", "val"])
def test_no_photo_at_all(refused, data, split):
    shutil.rmtree(data / split)
    write(data / split, 0)
    error = refused()
    assert f"{data / split}" in error
    assert "setup.build_shards" in error


def test_no_scene_label_at_all(refused, train, tmp_path):
    for split in ("train", "val"):
        write(tmp_path / "plain" / split, 20)
    error = refused("--inputs rgb", tmp_path / "plain")
    assert "scene" in error
    assert "--scene_weight 0" in error
    out = train("without", "--epochs 1 --inputs rgb --scene_weight 0", tmp_path / "plain")
    assert out[0] == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_map_of_another_size(refused, data, monkeypatch, workers):
    """The writer refuses such a pair, so it is put in behind its back."""
    monkeypatch.setattr("data.stream.decode_seg", lambda png, name: np.zeros((8, 9), np.uint8))
    error = refused(f"--workers {workers} --inputs both")
    assert "train_" in error
    assert "8" in error


def test_weights_that_cannot_be_had(refused):
    error = refused("--pretrained --backbone_args depth=12 --inputs rgb")
    assert "--no-pretrained" in error
    assert "efficientnet_lite1" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--select ema", "--select ema: there is no running average; give --ema"),
        ("--light_heads --consistency 0.1", "--light_heads go with neither"),
        ("--embed_once", "give --freeze_backbone"),
        ("--lora_rank 4 --freeze_backbone", "take one"),
        ("--lora_rank 4 --backbone resnet18 --backbone_args= --inputs rgb", "vision transformer"),
        ("--ema 1.5", "--ema must lie between 0"),
        ("--layer_decay 0.7 --backbone resnet18 --backbone_args= --inputs rgb", "--layer_decay"),
        ("--layer_decay 2", "--layer_decay must lie in"),
        ("--strategy fsdp", "torchrun --nproc_per_node"),
        ("--backbone resnet18 --backbone_args=", "--fusion late"),
        ("--label_smoothing 1", "label smoothing must lie in"),
        ("--inputs rgb --clip -1", "--clip must be at least 0"),
    ],
)
def test_settings_that_cannot_be(train, data, capsys, flags, message):
    if "--clip" in flags:
        with pytest.raises(SystemExit):
            train("bad", flags, data)
        assert message in capsys.readouterr().err
        return
    code, _, error = train("bad", f"--epochs 1 {flags}", data)
    assert (code, error.count("\n"), message in error) == (2, 1, True), error


def test_a_full_disk_stops_the_run_and_leaves_what_was_saved(train, data, monkeypatch):
    """The third checkpoint finds the disk full; the run resumes from the second."""
    from models.training.checkpoint import checkpoints_in, verify

    save, saved = __import__("torch").save, []

    def full(state, file):
        saved.append(file)
        if len(saved) > 4:  # two epochs: a best and a last checkpoint each
            file.write(b"half of it")
            raise OSError(28, "No space left on device")
        save(state, file)

    monkeypatch.setattr("torch.save", full)
    code, out, error = train("full", "--epochs 3 --inputs rgb", data)
    assert (code, error.count("\n")) == (2, 1)
    assert "No space left on device" in error
    assert "go on with --resume" in error
    monkeypatch.setattr("torch.save", save)
    for path in checkpoints_in(out / "checkpoints"):
        verify(path)
    code, _, error = train("full", "--epochs 3 --inputs rgb --resume", data)
    assert (code, error) == (0, "")


def test_a_nan_names_its_photos_and_is_not_saved(train, data, monkeypatch):
    from models.training.checkpoint import checkpoints_in
    from models.training.geocell_task import GeocellTask

    losses = GeocellTask.losses

    def spoilt(task, prediction, batch, usable):
        found, known = losses(task, prediction, batch, usable)
        if task.training and task.global_step == 8:
            found = found._replace(total=found.total * float("nan"))
        return found, known

    monkeypatch.setattr(GeocellTask, "losses", spoilt)
    code, out, error = train("nan", "--epochs 3 --inputs rgb --checkpoint_every_steps 1", data)
    assert (code, error.count("\n")) == (2, 1)
    assert "the loss became nan on photos train_" in error
    newest = checkpoints_in(out / "checkpoints")[0]
    assert newest.name == "step000000008.ckpt"
