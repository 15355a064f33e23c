"""Scene labels beside photos: the network's own, resumable, nothing lost on the way."""

import hashlib
import json

import models.torchvision_cure  # noqa: F401  isort: skip
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file

from data.images import decode_rgb
from data.index import Index
from data.places365 import Hierarchy
from data.shards import ShardWriter, verify
from models.scenes.classifier import SceneClassifier
from setup.build_shards import build_shards
from setup.label_scenes import main
from setup.labelling.scene_labels import Labeller
from setup.labelling.shards import label_shards
from setup.labelling.table import label_table
from setup.packing.settings import PackSettings

SOURCE = {"model": "tiny", "weights_sha256": "00"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny network in timm's format that says other things of other photos."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=365).eval()
    with torch.no_grad():
        noise = network.forward_features(torch.randn(64, 3, 1, 1).expand(-1, -1, 32, 32))
        mean = network.forward_head(noise, pre_logits=True).mean(dim=0)
        head = network.get_classifier()
        head.weight.mul_(40)
        head.bias.copy_(-head.weight @ mean)
    size = {"input_size": [3, 32, 32], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3}
    shape = {"architecture": "test_resnet", "num_classes": 365, "pretrained_cfg": size}
    (folder / "config.json").write_text(json.dumps(shape))
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def classifier(model):
    return SceneClassifier.load(str(model), "cpu")


@pytest.fixture
def labeller(classifier):
    with Labeller(classifier, Hierarchy.load(), batch=3, workers=2) as labeller:
        yield labeller


@pytest.fixture
def shards(tmp_path, picture, encode):
    """Twelve photos in three shards: the third has a map, the fifth is cut off."""
    folder = tmp_path / "shards"
    with ShardWriter(folder, 4) as writer:
        for i in range(12):
            jpg = encode(picture(40, 50 + i, i))
            seg = encode(picture(40, 50 + i, i)[:, :, 0].copy(), "PNG") if i == 2 else None
            writer.write(f"p{i}", jpg[:-200] if i == 4 else jpg, {"lat": i, "lon": -i}, seg)
    return folder


def samples(folder):
    index = Index.open(folder)
    return [index.read(row) for row in range(len(index))]


def sums(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("[ims]*.*")
    }


def expected_labels(classifier, jpg):
    probabilities = classifier.probabilities([decode_rgb(jpg)])
    s3, s16 = Hierarchy.load().sum_up(probabilities)
    return s3[0], int(s16[0].argmax()), int(probabilities[0].argmax())


def test_labels_stand_beside_their_photos(shards, tmp_path, classifier, labeller):
    assert label_shards(shards, tmp_path / "out", labeller, SOURCE) == (11, 1)
    before, after = samples(shards), samples(tmp_path / "out")
    assert [s[:3] for s in after] == [s[:3] for s in before], "keys, photos and maps stay"
    kinds = set()
    for old, new in zip(before, after, strict=True):
        if old.key == "p4":
            assert new.json == old.json
            continue
        s3, s16, s365 = expected_labels(classifier, old.jpg)
        np.testing.assert_allclose(new.json["s3"], s3, atol=2e-6)
        assert new.json == old.json | {"s3": new.json["s3"], "s16": s16, "s365": s365}
        kinds.add(s365)
    assert len(kinds) > 1, "a network that says one thing of all photos shows nothing"
    assert verify(tmp_path / "out").ok
    listed = pd.read_csv(tmp_path / "out" / "unlabelled.csv")
    assert listed["key"].tolist() == ["p4"]
    assert listed["reason"][0].startswith("unlabelled: p4: ")


class Stops:
    """A classifier that fails once it was asked `after` times; counts the photos it saw."""

    def __init__(self, classifier, after=10**9):
        self.prepare, self._classifier, self.left, self.seen = (
            classifier.prepare,
            classifier,
            after,
            0,
        )

    def classify(self, prepared, batch):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        self.seen += len(prepared)
        return self._classifier.classify(prepared, batch)


def test_a_stopped_run_goes_on(shards, tmp_path, classifier, labeller):
    label_shards(shards, tmp_path / "whole", labeller, SOURCE)
    out = tmp_path / "stopped"
    for after in (1, 3):  # amid the first shard, amid the second
        stops = Stops(classifier, after)
        with Labeller(stops, Hierarchy.load(), 3, 2) as stopping, pytest.raises(KeyboardInterrupt):
            label_shards(shards, out, stopping, SOURCE)
    counts = Stops(classifier)
    with Labeller(counts, Hierarchy.load(), 3, 2) as counting:
        assert label_shards(shards, out, counting, SOURCE) == (11, 1)
        assert counts.seen == 7, "the first shard was done; of the others one photo is cut off"
        assert label_shards(shards, out, counting, SOURCE) == (11, 1)
        assert counts.seen == 7, "a finished folder is left as it is"
    assert sums(out) == sums(tmp_path / "whole")


def test_a_sample_that_cannot_be_written_is_listed(shards, tmp_path, labeller):
    index = Index.open(shards)
    jpg, path = index.read(9).jpg, shards / index.shard(9)
    damaged = path.read_bytes().replace(jpg, b"\0" * len(jpg))
    path.write_bytes(damaged)
    assert label_shards(shards, tmp_path / "out", labeller, SOURCE) == (10, 2)
    listed = dict(pd.read_csv(tmp_path / "out" / "unlabelled.csv").to_numpy().tolist())
    assert set(listed) == {"p4", "p9"}
    assert listed["p9"].startswith("left out: p9: ")
    assert [s.key for s in samples(tmp_path / "out")] == [f"p{i}" for i in range(12) if i != 9]


def test_outputs_that_are_something_else(shards, tmp_path, labeller):
    label_shards(shards, tmp_path / "out", labeller, SOURCE)
    with pytest.raises(ValueError, match="begun with another weights_sha256"):
        label_shards(shards, tmp_path / "out", labeller, SOURCE | {"weights_sha256": "11"})
    with pytest.raises(ValueError, match="holds the photos"):
        label_shards(shards, shards, labeller, SOURCE)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="is not empty"):
        label_shards(shards, tmp_path / "full", labeller, SOURCE)


@pytest.fixture
def photos(tmp_path, picture, encode):
    """Six photos and their table: one more is not there, one is cut off, one row is short."""
    (tmp_path / "img").mkdir()
    lines = ["IMG_ID,AUTHOR,LAT,LON,S3_Label,title"]
    for i in range(6):
        data = encode(picture(40, 60, i))
        (tmp_path / "img" / f"p{i}.jpg").write_bytes(data[:-99] if i == 3 else data)
        lines.append(f'p{i}.jpg,{i}@N00,{i}.5,-{i},2,"a, b"')
    lines += ["gone.jpg,7@N00,1,2,2,x", "p0.jpg,1@N"]
    (tmp_path / "photos.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "img", tmp_path / "photos.csv"


def test_a_table_gets_the_columns_of_the_field(photos, tmp_path, classifier, labeller):
    output = tmp_path / "labelled.csv"
    assert label_table(*photos, output, labeller, SOURCE) == (5, 3)
    table = pd.read_csv(output)
    assert table.columns.tolist() == [
        *("IMG_ID", "LAT", "LON", "AUTHOR", "title", "S3_Label", "S16_Label", "S365_Label"),
        *("Prob_indoor", "Prob_natural", "Prob_urban"),
    ]
    assert table["IMG_ID"].tolist() == [*(f"p{i}.jpg" for i in range(6)), "gone.jpg"]
    assert table["title"].tolist() == ["a, b"] * 6 + ["x"]
    for i in (0, 1, 2, 4, 5):
        row = table.iloc[i]
        s3, s16, s365 = expected_labels(classifier, (photos[0] / f"p{i}.jpg").read_bytes())
        assert (row["S3_Label"], row["S16_Label"], row["S365_Label"]) == (s3.argmax(), s16, s365)
        given = row[["Prob_indoor", "Prob_natural", "Prob_urban"]].astype(float)
        np.testing.assert_allclose(given, s3, atol=2e-6)
    assert table.iloc[[3, 6], 5:].isna().all(axis=None)
    listed = pd.read_csv(tmp_path / "labelled.csv.refused.csv")
    assert listed["row"].tolist() == [4, 7, 8]
    assert listed["reason"].str.partition(":")[0].tolist() == ["unlabelled"] * 2 + ["short row"]


def test_a_labelled_table_is_packed_with_its_labels(photos, tmp_path, labeller):
    output = tmp_path / "labelled.csv"
    label_table(*photos, output, labeller, SOURCE)
    settings = PackSettings(csv=output, images=photos[0], val_share=0)
    build_shards(settings, tmp_path / "packed", workers=1)
    table = pd.read_csv(output).set_index("IMG_ID")
    found = samples(tmp_path / "packed" / "train")
    assert len(found) == 5
    for sample in found:
        row = table.loc[sample.key.replace("%2E", ".")]
        assert sample.json["s3"] == row[["Prob_indoor", "Prob_natural", "Prob_urban"]].tolist()
        assert (sample.json["s16"], sample.json["s365"]) == (row["S16_Label"], row["S365_Label"])
        assert sample.json["author"] == row["AUTHOR"]


def test_a_stopped_table_goes_on(photos, tmp_path, classifier, labeller):
    label_table(*photos, tmp_path / "whole.csv", labeller, SOURCE)
    output, gathered = tmp_path / "out.csv", tmp_path / "out.csv.labels"
    stops = Stops(classifier, 1)
    with Labeller(stops, Hierarchy.load(), 3, 2) as stopping, pytest.raises(KeyboardInterrupt):
        label_table(*photos, output, stopping, SOURCE)
    assert not output.exists()
    with gathered.open("a") as file:
        file.write('{"s3": [0.1')  # a line that a full disk cut
    with pytest.raises(ValueError, match="of another network or table; remove it"):
        label_table(*photos, output, labeller, SOURCE | {"weights_sha256": "11"})
    counts = Stops(classifier)
    with Labeller(counts, Hierarchy.load(), 3, 2) as counting:
        assert label_table(*photos, output, counting, SOURCE) == (5, 3)
    assert counts.seen == 2, "three rows were done, one photo is cut off, one is not there"
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not gathered.exists()


def test_unusable_folders(photos, tmp_path, labeller):
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="none of the 7 photos"):
        label_table(tmp_path / "none", photos[1], tmp_path / "o.csv", labeller, SOURCE)
    with pytest.raises(ValueError, match="no folder"):
        label_table(tmp_path / "nil", photos[1], tmp_path / "o.csv", labeller, SOURCE)
    with pytest.raises(ValueError, match="is the table itself"):
        label_table(*photos, photos[1], labeller, SOURCE)
    assert not list(tmp_path.glob("*.labels"))


def test_command_line(shards, photos, model, tmp_path, capsys):
    (tmp_path / "all").mkdir()
    shards.rename(tmp_path / "all" / "train")
    words = ["--model", str(model), "--device", "cpu", "--batch", "4"]
    assert main([*words, "--shards", str(tmp_path / "all"), "--output", str(tmp_path / "out")]) == 0
    assert "11 photos labelled in" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "train" / "scene_labels.json").read_text())
    assert set(record) == {"model", "weights_sha256", "hierarchy_sha256", "shards_sha256"}
    images = ["--images", str(photos[0]), "--output", str(tmp_path / "l.csv")]
    assert main([*words, *images, "--csv", str(photos[1])]) == 0
    assert "3 without a label" in capsys.readouterr().out
    for wrong, message in (
        ([*words, *images], "--images and --csv belong together"),
        ([*words, "--shards", str(tmp_path), "--output", "o"], "no shards in"),
        ([*words, *images, "--csv", str(photos[1]), "--batch", "0"], "batch and workers"),
        (["--model", "/no/such", "--shards", str(tmp_path / "all"), "--output", "o"], "no folder"),
    ):
        assert main(wrong) == 2
        assert capsys.readouterr().err.startswith(f"error: {message}"), message
