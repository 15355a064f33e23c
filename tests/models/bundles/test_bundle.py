"""Bundles: written whole, read back the same through torch and ONNX, refused when damaged."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.bundles.bundle import Bundle
from models.bundles.session import open_session
from models.export import load_model, onnx_difference
from partitioning import partition as partition_file
from partitioning.partition import build_partition


@pytest.fixture
def copied(bundle, tmp_path):
    import shutil

    return shutil.copytree(bundle.path, tmp_path / "copy")


def test_reads_back_what_was_written(bundle, partition):
    assert bundle.levels == ("coarse", "middle", "fine")
    assert bundle.partition.fingerprint == partition.fingerprint
    assert bundle.calibration.threshold(0.9) == 0.97
    assert "tiny" in (bundle.path / "README.md").read_text()
    assert not list(bundle.path.glob("*.tmp*"))


def test_onnx_and_torch_agree_photo_by_photo(bundle):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    seg = rng.integers(0, 5, (50, 70), dtype=np.uint8)
    for seg_map in (None, seg):
        one = open_session(bundle, "onnx").encode(rgb, seg_map)
        other = open_session(bundle, "torch").encode(rgb, seg_map)
        for level in bundle.levels:
            np.testing.assert_allclose(one.logits[level], other.logits[level], atol=1e-4)
        np.testing.assert_allclose(one.descriptor, other.descriptor, atol=1e-4)
        np.testing.assert_allclose(one.scene, other.scene, atol=1e-4)


@pytest.mark.parametrize("photos", [1, 2, 5])
def test_onnx_takes_any_batch(bundle, photos):
    assert onnx_difference(load_model(bundle), bundle.path / "model.onnx", photos) <= 1e-4


def test_onnx_answer_imports_no_torch(bundle):
    program = (
        "import sys, numpy as np\n"
        "from models.bundles.bundle import Bundle\n"
        "from models.bundles.session import open_session\n"
        f"session = open_session(Bundle.open({str(bundle.path)!r}), 'onnx')\n"
        "session.encode(np.zeros((40, 40, 3), np.uint8))\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'pandas', 'timm', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_cells_of_another_partition_are_refused(copied):
    rng = np.random.default_rng(5)
    t = {"coarse": (10, 900), "middle": (10, 300), "fine": (10, 90)}
    other = build_partition(rng.uniform(40, 50, 2000), rng.uniform(0, 10, 2000), t)
    partition_file.save(other, copied / "cells.parquet")
    with pytest.raises(ValueError, match="another partition"):
        Bundle.open(copied)


def change_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(("level", "count"), [("fine", 7), ("coarse", 1), ("street", 3)])
def test_another_number_of_classes_than_cells_is_refused(level, count, copied):
    change_config(copied, lambda c: c["architecture"]["num_cells"].update({level: count}))
    with pytest.raises(ValueError, match=rf"{count} {level} classes|no level '{level}'"):
        Bundle.open(copied)


def test_cells_without_their_parents_are_refused(copied):
    """The first coarse cell is taken out, the others are numbered anew."""
    table = pq.read_table(copied / "cells.parquet")
    frame = table.to_pandas()
    frame = frame[(frame.level != "coarse") | (frame.class_id > 0)].reset_index(drop=True)
    frame.loc[frame.level == "coarse", "class_id"] -= 1
    frame.loc[frame.level == "middle", "parent_class_id"] -= 1
    changed = pa.Table.from_pandas(frame, preserve_index=False)
    changed = changed.replace_schema_metadata(table.schema.metadata)
    pq.write_table(changed, copied / "cells.parquet")
    with pytest.raises(ValueError, match=r"cells lie in no coarser cell.*assign_classes"):
        Bundle.open(copied)


def test_verify_takes_what_was_written_and_names_what_was_not(copied):
    Bundle.open(copied).verify()
    (copied / "README.md").write_text("a card may be edited")
    Bundle.open(copied).verify()
    for name in ("model.onnx", "model.safetensors"):
        (copied / name).write_bytes((copied / name).read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"model\.safetensors, model\.onnx not as config\.json"):
        Bundle.open(copied).verify()
    (copied / "model.onnx").unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.onnx"):
        Bundle.open(copied).verify()
    change_config(copied, lambda c: c.update(files={"../../etc/passwd": "0"}))
    with pytest.raises(ValueError, match="which no bundle has"):
        Bundle.open(copied).verify()


@pytest.mark.parametrize("name", ["config.json", "cells.parquet", "calibration.json"])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        Bundle.open(copied)


def test_missing_weights_are_named(copied):
    (copied / "model.safetensors").unlink()
    (copied / "model.onnx").unlink()
    for engine, name in (("torch", "model.safetensors"), ("onnx", r"models\.export")):
        with pytest.raises(FileNotFoundError, match=name):
            open_session(Bundle.open(copied), engine)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"a":' * 100_000])
def test_a_damaged_config_is_refused(copied, text):
    (copied / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is not a model bundle"):
        Bundle.open(copied)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(cells_fingerprint=5),
        lambda c: c.update(model_sha256=None),
        lambda c: c["architecture"].update(num_cells=[1, 2]),
        lambda c: c["architecture"].update(num_cells={}),
    ],
)
def test_a_config_of_other_types_is_refused(copied, change):
    change_config(copied, change)
    with pytest.raises(ValueError, match=r"config\.json is not a model bundle"):
        Bundle.open(copied)


@pytest.mark.parametrize("facts", ['{"t": {"fine": []}}', "[" * 100_000, '{"t": 1e999}', "[]"])
def test_hostile_facts_of_cells_are_refused(copied, facts):
    table = pq.read_table(copied / "cells.parquet")
    key = next(iter(table.schema.metadata.keys() - {b"pandas"}))
    held = json.loads(table.schema.metadata[key])
    text = json.dumps(held | json.loads(facts)) if facts.startswith("{") else facts
    pq.write_table(table.replace_schema_metadata({key: text}), copied / "cells.parquet")
    with pytest.raises(ValueError, match="not a usable cells"):
        Bundle.open(copied)


def test_a_model_of_another_kind_is_named(copied):
    (copied / "config.json").write_text('{"kind": "groundfix place model"}')
    with pytest.raises(ValueError, match=r"it is a groundfix place model: .* a flag of their own"):
        Bundle.open(copied)


def test_weights_that_do_not_fit_are_refused(copied):
    config = json.loads((copied / "config.json").read_text())
    config["architecture"]["backbone_args"]["embed_dim"] = 48
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not fit"):
        load_model(Bundle.open(copied))


def test_a_directory_that_is_no_bundle_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train_vit\.py"):
        Bundle.open(tmp_path)


def test_map_of_another_size_and_unknown_engine_are_refused(bundle):
    session = open_session(bundle, "onnx")
    with pytest.raises(ValueError, match="segmentation map is"):
        session.encode(np.zeros((40, 40, 3), np.uint8), np.zeros((20, 40), np.uint8))
    with pytest.raises(ValueError, match="onnx, torch"):
        open_session(bundle, "tensorflow")
