"""What a branch of a foundry's devices may be, and the lines that a netlist has of it."""

import pytest
from foundry_models import IHP, SKY130

from netlists.foundry.branch import FoundryBranch
from netlists.foundry.cards import RAILS, rails, resistor_card, switch_cards


def test_lines_name_sizes_in_the_units_of_the_library():
    branch = FoundryBranch(**SKY130, lengths=(1e-6, 7e-6), switch="gate")
    line = resistor_card(branch, "r1", ("a", "b"), length=7e-6, m=1.25)
    assert line == "Xr1 a b vss sky130_fd_pr__res_high_po w=0.35 l=7.0 m=1.25"
    assert switch_cards(branch, "s1", ("a", "b"), closed=True) == [
        "Xs1_n a gate_on b vss sky130_fd_pr__nfet_01v8 w=1.0 l=0.15 m=1.0",
        "Xs1_p a gate_on_bar b vdd sky130_fd_pr__pfet_01v8 w=2.0 l=0.15 m=1.0",
    ]
    branch = FoundryBranch(**IHP, lengths=(0.96e-6,), width=1e-6)
    line = resistor_card(branch, "r", ("a", "b"), length=0.96e-6)
    assert line == "Xr a b vss rhigh w=1e-06 l=9.6e-07 m=1.0"
    assert switch_cards(branch, "s", ("a", "b"), closed=False, m=2) == [
        "Xs_n a gate_off b vss sg13_lv_nmos w=1e-06 l=1.3e-07 m=2.0"
    ]


def test_rails_lie_about_the_ground_of_the_signals():
    low = FoundryBranch(**SKY130, lengths=(1e-6,), v_max=0.2)
    held = {line.split()[1]: float(line.split()[3]) for line in rails(low)}
    assert tuple(held) == RAILS
    assert held == {
        "vdd": 1.6,
        "vss": -0.2,
        "gate_on": 1.6,
        "gate_on_bar": -0.2,
        "gate_off": -0.2,
        "gate_off_bar": 1.6,
    }
    middle = FoundryBranch(**SKY130, lengths=(1e-6,), v_max=0.2, common=0.9)
    assert rails(middle)[:2] == ["vvdd vdd 0 0.9", "vvss vss 0 -0.9"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"resistor": "rhigh"}, "expected a resistor of sky130, high_po, xhigh_po; got 'rhigh'"),
        ({"technology": "tsmc"}, "technology must be 'sky130' or 'ihp-sg13g2'"),
        ({"lengths": ()}, "lengths must be 1 … 32 lengths"),
        ({"lengths": (2e-6, 1e-6)}, "lengths must ascend from at least 5e-07 m"),
        ({"lengths": (1e-7,)}, "lengths must ascend from at least 5e-07 m"),
        ({"lengths": (1e-6, "x")}, "lengths"),
        ({"width": 0.1e-6}, "width must be at least 3.5e-07 m"),
        ({"width": 0.5e-6}, "width must be one of 3.5e-07, 6.9e-07, 1.41e-06, .* m, which are"),
        ({"w_nmos": 0.1e-6}, "w_nmos must be at least 4.2e-07 m"),
        ({"corner": "tt"}, "corner must be 'typical'"),
        ({"v_select": 0.31}, r"v_select, 0\.31 V, must be at most v_max, 0\.3 V"),
        ({"v_max": 1.0}, r"signals of 1 ± 1 V leave the supply of sky130, 0 … 1.8 V"),
        ({"common": 0.1}, r"signals of 0.1 ± 0.3 V leave the supply"),
        ({"common": 1.7}, r"signals of 1.7 ± 0.3 V leave the supply"),
        ({"temperature": -3.0}, "temperature"),
        ({"switch": "relay"}, "switch"),
    ],
)
def test_what_no_process_has_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        FoundryBranch(**{**SKY130, "lengths": (1e-6,)} | options)


@pytest.mark.parametrize("name", ["a b", "a\n.end", "", "a;b", "a$"])
def test_a_name_that_could_add_a_line_is_refused(name):
    branch = FoundryBranch(**SKY130, lengths=(1e-6,))
    with pytest.raises(ValueError, match="cannot stand in a netlist"):
        resistor_card(branch, name, ("a", "b"), length=1e-6)
    with pytest.raises(ValueError, match="cannot stand in a netlist"):
        resistor_card(branch, "r", ("a", name), length=1e-6)
    with pytest.raises(ValueError, match="cannot stand in a netlist"):
        switch_cards(branch, "s", (name, "b"), closed=True)
