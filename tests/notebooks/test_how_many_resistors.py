"""The notebook on the number of resistors runs; nothing in it depends on the processor."""

from notebooks import example


def test_how_many_resistors_a_weight_needs(tmp_path, request):
    done = example("how_many_resistors", tmp_path, request)
    assert done.n_figure == 3
    assert 0.9 < done.number(r"ladder 1.75, scatter 5 % +([\d.]+)") < 1.05
    assert 0.2 < done.number(r"equal, scatter 5 % +([\d.]+)") < 0.5
    assert "never 8 bits" in done.text
    assert "equal, scatter 5 %: no bank of up to 16 branches" in done.text
    assert done.number(r"pair of ladders: n = (\d+)") in (5, 6, 7)
