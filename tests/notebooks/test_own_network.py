"""The notebook on your own network runs, and its die is as good as its text says."""

import pytest

from notebooks import example


@pytest.mark.training
def test_your_own_network_comes_onto_a_die(tmp_path, request):
    done = example("own_network", tmp_path, request)
    assert done.n_figure == 3
    assert done.number(r"largest difference (\S+) of the largest output") < 1e-9
    digital = done.number(r"digital accuracy ([\d.]+)%")
    assert abs(done.number(r"mean of 8 dies ([\d.]+)%") - digital) < 2
    assert done.text.count("rms error 0.") == 3
