"""Import paths that pages and examples showed before go on working, and say what to write."""

import importlib
import sys

import pytest

from tinynets.moved import MOVED

#: Of each old module, a name that was shown with it.
SHOWN = {
    "tinynets.crossbar_masks": "prune_for_tiles",
    "tinynets.layers": "PrunedLayer",
    "tinynets.metrics": "Metrics",
    "tinynets.models": "mlp",
    "tinynets.networks.data": "digits",
    "tinynets.strong_lottery": "error_bound",
    "tinynets.train": "accuracy",
    "mapping.compact": "compare",
    "mapping.metrology": "select_estimated",
    "netlists.kicad": "tile_board",
    "netlists.masks": "write_masks",
    "netlists.plan": "read_plan",
    "netlists.technology": "HIGH_PO",
    "crossbar_sim.exchange": "reselect_run",
    "crossbar_sim.hashing": "crossbar_projection",
    "crossbar_sim.network": "train_and_prune",
    "crossbar_sim.saved": "load_network",
    "crossbar_sim.statistics": "paired_difference",
    "crossbar_sim.study_config": "StudyConfig",
    "crossbar_sim.tune": "fine_tune_layer_by_layer",
}


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_leads_to_the_name_and_warns(old):
    module, name = importlib.import_module(old), SHOWN[old]
    with pytest.warns(DeprecationWarning, match=rf"{old}\.{name} is now "):
        here = getattr(module, name)
    assert any(getattr(sys.modules[new], name, None) is here for new in MOVED[old])
    with pytest.raises(AttributeError, match="nonsense"):
        _ = module.nonsense


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("tinynets.data", ["Data", "digits", "from_dataset", "from_npz", "mnist5000", "split"]),
        ("tinynets.pruning", ["METHODS", "prune"]),
        ("tinynets.lottery", ["reinitialised", "shuffled", "tickets", "train_from", "trainer"]),
        ("crossbar_sim.config", ["RunConfig", "load_config"]),
        ("tinynets.flyhash", ["FlyHash", "recall"]),
    ],
)
def test_modules_that_became_rooms_have_what_they_had(module, names):
    assert all(hasattr(importlib.import_module(module), name) for name in names)
