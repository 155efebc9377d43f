"""What is named as a file but is none is refused at once, by every reader; a message names it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tinynets.data.own import from_npz, from_safetensors
from tinynets.files.checks import check_file, said_of
from tinynets.files.npz import read_npz
from tinynets.formats.readers import read_network

READERS: dict[str, Callable[[Path], object]] = {
    "a.npz": read_npz,
    "data.npz": from_npz,
    "data.safetensors": from_safetensors,
    "net.safetensors": read_network,
    "net.pt": read_network,
    "net.onnx": read_network,
}


@pytest.mark.parametrize("name", READERS)
def test_a_device_is_refused_before_it_is_read(tmp_path, name):
    """A reader of a pipe or of an endless device would never return; this one ends at once."""
    (tmp_path / name).symlink_to("/dev/null")
    with pytest.raises(ValueError, match=rf"{name} is a pipe or a device; expected a file"):
        READERS[name](tmp_path / name)


def test_files_folders_and_what_is_missing_pass(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    assert [check_file(tmp_path / name) for name in ("", "file", "none", "loop")] == [None] * 4


@pytest.mark.parametrize("name", READERS)
def test_a_name_longer_than_any_file_may_have_is_refused_in_short(tmp_path, name):
    with pytest.raises(ValueError, match=r"^.{20,90}\.\.\. names no file: File name too long"):
        READERS[name](tmp_path / ("a" * 3000 + name))


def test_a_message_about_content_names_the_file_once():
    with pytest.raises(ValueError, match=r"^a/b\.pt: no good$"), said_of("a/b.pt"):
        raise ValueError("no good")
    with pytest.raises(ValueError, match=r"^no a/b\.pt$"), said_of(Path("a/b.pt")):
        raise ValueError("no a/b.pt")


BAD = {
    "net.safetensors": ({"a.weight": np.ones((2, 3)), "b.weight": np.ones((4, 5))}, "one order"),
    "nan.safetensors": ({"a.weight": np.full((2, 3), np.nan)}, "NaN or inf"),
    "bias.safetensors": ({"a.weight": np.ones((2, 3)), "a.bias": np.ones(3)}, "do not fit"),
}


@pytest.mark.parametrize("name", BAD)
def test_weights_that_make_no_network_are_named(tmp_path, name):
    tensors, message = BAD[name]
    safetensors.numpy.save_file(tensors, tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
        read_network(tmp_path / name)


@pytest.mark.parametrize("reader", [from_npz, from_safetensors])
def test_samples_and_labels_that_are_wrong_are_named(tmp_path, reader):
    arrays = {"x": np.ones((8, 3)), "y": np.ones((8, 2))}
    path = tmp_path / "data"
    if reader is from_npz:
        with path.open("wb") as file:
            np.savez(file, **arrays)
    else:
        safetensors.numpy.save_file(arrays, path)
    with pytest.raises(ValueError, match=r"data: labels must be whole numbers in one row"):
        reader(path)


def test_bytes_before_an_npz_file_are_noticed(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    assert read_npz(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]
    (tmp_path / "b.npz").write_bytes(bytes(20) + (tmp_path / "a.npz").read_bytes())
    with pytest.raises(ValueError, match=r"b\.npz is damaged .* does not begin as an NPZ file"):
        read_npz(tmp_path / "b.npz")
