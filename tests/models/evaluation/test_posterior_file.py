"""posteriors.npz: read as written, refused where it does not fit itself."""

import numpy as np
import pytest

from models.evaluation.posterior_file import read_posteriors
from partitioning.geodesy import haversine_km

PHOTOS, CELLS = 6, 4


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "img_id": np.array([f"p{i}" for i in range(PHOTOS)]),
        "posterior": rng.dirichlet(np.ones(CELLS), PHOTOS).astype(np.float32),
        "true_class": np.array([0, 1, -1, 3, 2, 2]),
        "lat": rng.uniform(-80, 80, PHOTOS),
        "lon": rng.uniform(-180, 180, PHOTOS),
        "error_km": rng.uniform(0, 9000, PHOTOS),
        "cell_lat": rng.uniform(-80, 80, CELLS),
        "cell_lon": rng.uniform(-180, 180, CELLS),
    }


@pytest.fixture
def write(tmp_path):
    def save(arrays):
        path = tmp_path / "posteriors.npz"
        np.savez_compressed(path, **arrays)
        return path

    return save


def test_it_is_read_as_written(write, arrays):
    test = read_posteriors(write(arrays))
    np.testing.assert_array_equal(test.posterior, arrays["posterior"])
    np.testing.assert_array_equal(test.true_cells, arrays["true_class"])
    np.testing.assert_array_equal(test.errors_km, arrays["error_km"])


def test_without_errors_the_answer_is_the_likeliest_cell(write, arrays):
    del arrays["error_km"]
    test = read_posteriors(write(arrays))
    for row in range(PHOTOS):
        best = int(np.argmax(arrays["posterior"][row]))
        expected = haversine_km(
            arrays["lat"][row],
            arrays["lon"][row],
            arrays["cell_lat"][best],
            arrays["cell_lon"][best],
        )
        assert test.errors_km[row] == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("posterior", np.ones((PHOTOS, CELLS)), "does not sum to 1"),
        ("posterior", np.full((PHOTOS, CELLS), np.nan), "does not sum to 1"),
        ("posterior", np.ones(PHOTOS), r"not \(photos, cells\)"),
        ("posterior", np.ones((0, CELLS)), r"not \(photos, cells\)"),
        ("true_class", np.array([0, 1, 2, 3, 4, 0]), r"outside -1\.\.3"),
        ("true_class", np.zeros(PHOTOS), "float64"),
        ("true_class", np.array([0]), r"\(1,\) for 6 photos"),
        ("error_km", np.full(PHOTOS, np.nan), "one distance a photo"),
        ("error_km", np.ones(2), "one distance a photo"),
    ],
)
def test_what_does_not_fit_is_refused(write, arrays, name, value, reason):
    path = write({**arrays, name: value})
    with pytest.raises(ValueError, match=rf"posteriors.npz is not a test's.*{reason}.*--save_post"):
        read_posteriors(path)


def test_a_lacking_array_pickles_damage_and_no_file_are_refused(write, arrays, tmp_path):
    whole = write(arrays)
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(ValueError, match="damaged"):
        read_posteriors(damaged)
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **{**arrays, "true_class": np.array([{}] * PHOTOS, dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        read_posteriors(pickled)
    del arrays["true_class"]
    with pytest.raises(ValueError, match="true_class"):
        read_posteriors(write(arrays))
    with pytest.raises(FileNotFoundError, match="--save_posteriors"):
        read_posteriors(tmp_path / "none.npz")
