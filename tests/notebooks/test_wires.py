"""The notebook on wires runs, and its certified currents are tight."""

from notebooks import example


def test_what_wires_take_and_what_wins_it_back(tmp_path, request):
    done = example("wires", tmp_path, request)
    assert done.n_figure == 3
    before, gain, after = (done.number(rf"128 lines: {'[^,]+, ' * k}([\d.]+) %") for k in range(3))
    assert 0.5 * before > gain > after > 0
    assert done.number(r"widest interval: (\S+)") < 1e-10
    assert done.number(r"ngspice lies outside by (\S+)") < 1e-9
