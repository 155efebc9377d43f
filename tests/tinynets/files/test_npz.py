"""NPZ files that are written: numpy reads them, and what shrinks is compressed."""

import zipfile

import numpy as np

from tinynets.files.npz import read_npz, write_npz


def test_arrays_come_back_and_only_what_shrinks_is_compressed(tmp_path):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(300, 7))
    arrays = {
        "dense": dense,
        "fortran": np.asfortranarray(dense),
        "sparse": np.where(rng.random(dense.shape) < 0.2, dense, 0.0),
        "0/tiles/masks": rng.integers(0, 64, 5000).astype(np.uint32),
        "empty": np.zeros((0, 3)),
        "text": np.array("a"),
    }
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        write_npz(file, arrays)
    with np.load(path) as file:
        of_numpy = dict(file)
    for found in (of_numpy, read_npz(path)):
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
    with zipfile.ZipFile(path) as archive:
        stored = [e.filename for e in archive.infolist() if e.compress_type == zipfile.ZIP_STORED]
        sizes = {e.filename: e.compress_size / e.file_size for e in archive.infolist()}
    assert stored == ["dense.npy", "fortran.npy"]
    assert sizes["sparse.npy"] < 0.5
    assert sizes["0/tiles/masks.npy"] < 0.5
