"""The files that a network can be read from."""

from tinynets.files.suffixes import FORMATS, GRAPHS, WEIGHTS, listed
from tinynets.formats.readers import READERS
from tinynets.formats.weights import WEIGHT_READERS


def test_every_suffix_has_a_reader():
    assert set(READERS) == set(FORMATS) == {*GRAPHS, *WEIGHTS}
    assert set(WEIGHT_READERS) == set(WEIGHTS)


def test_suffixes_are_listed_as_people_do():
    assert listed([".onnx", ".pt", ".pth"]) == ".onnx, .pt or .pth"
    assert listed([".onnx"]) == ".onnx"
