"""The house keeps its order: imports run one way, every module says what it is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Each room may import the rooms before it; setup only the first two, but for the demo.
ROOMS = ["partitioning", "data", "models", "retrieval"]
SCRIPTS = ["geolocate", "train_vit", "test_vit"]
ALLOWED = {room: set(ROOMS[: i + 1]) for i, room in enumerate(ROOMS)}
ALLOWED |= {"geolocate": set(ROOMS), "train_vit": set(ROOMS), "test_vit": set(ROOMS)}
ALLOWED |= {"benchmarks": {*ROOMS, "benchmarks", "geolocate", "setup"}}
ALLOWED |= {"setup": {"setup", "partitioning", "data"}}
DEMO = {
    "ablation_report.py",
    "ablation_study.py",
    "ablation_table.py",
    "landmark_null.py",
    "readme.py",
    "demo.py",
    "demonstration/pictures.py",
    "demonstration/street_demo.py",
    "demonstration/street_report.py",
    "demonstration/leave_one_out.py",
}
# Steps of packing that run a network over the photos.
WITH_MODELS = {
    "clean_places.py",
    "inpaint_places.py",
    "places/object_painter.py",
    "label_scenes.py",
    "packing/draw_maps.py",
    "packing/embed_photos.py",
    "segmenting/shards.py",
}

MODULES = sorted(
    path for name in [*ROOMS, "setup", "benchmarks"] for path in (ROOT / name).rglob("*.py")
) + [ROOT / f"{name}.py" for name in SCRIPTS]


def imported_rooms(path):
    """First names of everything imported anywhere in a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module.split(".")[0]


def room_of(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else path.stem


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    ours = {*ROOMS, *SCRIPTS, "setup", "benchmarks", "tests"}
    allowed = ALLOWED[room_of(path)]
    if room_of(path) == "setup" and str(path.relative_to(ROOT / "setup")) in DEMO | WITH_MODELS:
        allowed = {*ROOMS, "setup"}
    assert set(imported_rooms(path)) & ours <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    if (
        path.name != "__init__.py"
        and room_of(path) not in SCRIPTS
        and "__main__" in path.read_text()
    ):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert f"python -m {module}" in docstring, "a runnable module shows its command"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 300


def test_no_ignored_room():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for room in [*ROOMS, "setup", "tests", "benchmarks"]:
        assert not any(line.strip("/") == room for line in ignored)
