"""The notebook on a transformer runs; branches, wires and re-selection do what its text says."""

import pytest

from notebooks import example


@pytest.mark.training
def test_a_small_transformer_on_its_die(tmp_path, request):
    done = example("transformer", tmp_path, request)
    assert done.n_figure == 2
    assert 1 < done.number(r"falls by ([\d.]+) bits a branch") < 2
    mended = done.number(r" 5 Ω: error \S+ as selected, ([\d.]+)%")
    assert mended < 0.5 * done.number(r" 5 Ω: error ([\d.]+)%")
    assert done.number(r"worst difference (\S+)") < 1e-9
