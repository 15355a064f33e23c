"""PCA against faiss's, whitening against its definition."""

import faiss
import numpy as np
import pytest

from retrieval.testing.pca import PCA


@pytest.fixture(params=[(200, 12), (20, 50)], ids=["more photos", "more numbers"])
def descriptors(request):
    count, width = request.param
    rng = np.random.default_rng(0)
    mixed = (
        rng.normal(size=(count, width))
        * np.linspace(3, 0.1, width)
        @ rng.normal(size=(width, width))
    )
    return mixed.astype(np.float32)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_equals_faiss_up_to_signs(descriptors):
    theirs = faiss.PCAMatrix(descriptors.shape[1], 6)
    theirs.train(descriptors)
    expected = unit(theirs.apply(descriptors))
    ours = PCA.fit(descriptors, 6)(descriptors)
    signs = np.sign((ours * expected).sum(axis=0))
    np.testing.assert_allclose(ours * signs, expected, atol=2e-3)


def test_whitened_directions_vary_equally(descriptors):
    pca = PCA.fit(descriptors, 6, is_whitened=True)
    raw = (descriptors - pca.mean) @ pca.components.T / np.sqrt(pca.variances)
    np.testing.assert_allclose(raw.var(axis=0, ddof=1), 1, rtol=0.01)
    np.testing.assert_allclose(pca(descriptors), unit(raw), atol=1e-4)


def test_components_are_orthonormal_and_lengths_one(descriptors):
    pca = PCA.fit(descriptors, 6)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(6), atol=1e-4)
    assert (np.diff(pca.variances) <= 1e-3).all()
    np.testing.assert_allclose(np.linalg.norm(pca(descriptors), axis=1), 1, atol=1e-5)


def test_what_is_saved_is_read(descriptors, tmp_path):
    pca = PCA.fit(descriptors, 3, is_whitened=True)
    pca.save(tmp_path / "pca.npz")
    np.testing.assert_array_equal(PCA.load(tmp_path / "pca.npz")(descriptors), pca(descriptors))


def test_more_dimensions_than_photos_are_refused(descriptors):
    count, width = descriptors.shape
    most = min(count - 1, width)
    PCA.fit(descriptors, most)
    with pytest.raises(ValueError, match=f"it can be 1 to {most}"):
        PCA.fit(descriptors, most + 1)
    with pytest.raises(ValueError, match="finite"):
        PCA.fit(descriptors * np.nan, 2)
    with pytest.raises(ValueError, match=f"fitted to {width}"):
        PCA.fit(descriptors, 2)(descriptors[:, 1:])


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(ValueError, match="no saved PCA"):
        PCA.load(path)
    path.write_bytes(b"garbage")
    with pytest.raises(ValueError, match="no saved PCA"):
        PCA.load(path)
    np.savez(path, mean=np.zeros(3), components=np.array([{}], object))
    with pytest.raises(ValueError, match="no saved PCA"):
        PCA.load(path)
    np.savez(
        path, mean=np.zeros(3), components=np.zeros((2, 2)), variances=np.ones(2), is_whitened=0
    )
    with pytest.raises(ValueError, match="do not fit together"):
        PCA.load(path)
