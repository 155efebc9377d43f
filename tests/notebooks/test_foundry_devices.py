"""The notebook on a foundry's devices runs where the models are, and else says what to do."""

import pytest
from foundry_models import models_of

from notebooks import NOTEBOOKS, CellExecutionError, example, execute


@pytest.mark.training
def test_a_network_on_the_devices_of_both_foundries(tmp_path, request):
    for technology in ("sky130", "ihp-sg13g2"):
        models_of(technology)
    done = example("foundry_devices", tmp_path, request)
    assert done.n_figure == 1
    assert done.text.count("straight lines") == 2
    assert done.number(r"sky130 +engine (\S+),") < 1e-5
    assert done.number(r"ihp-sg13g2 +engine (\S+),") < 1e-5


def test_without_models_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("PDK_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (path,) = (path for path in NOTEBOOKS if path.stem == "foundry_devices")
    with pytest.raises(CellExecutionError, match=r"run `scripts/foundry\.sh`"):
        execute(path.read_text(encoding="utf-8"), tmp_path)
