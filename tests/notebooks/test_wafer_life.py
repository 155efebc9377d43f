"""The notebook on a wafer's life runs, and few switches mend a chip with broken branches."""

import pytest

from notebooks import example


@pytest.mark.training
def test_a_chip_is_adapted_by_few_switches(tmp_path, request):
    pytest.importorskip("pyarrow")
    done = example("wafer_life", tmp_path, request)
    assert done.n_figure == 3
    assert 0 < done.number(r"([\d.]+)% of the switches change") < 5
    back = done.number(r"back, old switches +rms error ([\d.]+)%")
    assert done.number(r"adapted +rms error ([\d.]+)%") < 0.5 * back
    assert "written: changes.csv pack report.html report.json" in done.text
