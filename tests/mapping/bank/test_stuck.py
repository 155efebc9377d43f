"""Dies whose failing switches are known one by one."""

import numpy as np
import pytest

from mapping import Die, ResistorBank
from mapping.bank.stuck import NEVER_CLOSES, NEVER_OPENS

BANK = ResistorBank(n=3, sigma_local=0.05, r_on=1e3, r_off=1e9, p_stuck_open=0.5)
ROWS, COLUMNS = np.array([0, 1]), np.array([0, 1])


def states() -> dict[str, np.ndarray]:
    found = np.zeros((2, 2, 2, 3), np.int8)
    found[0, 0, 0, 1], found[1, 1, 1, 2] = NEVER_CLOSES, NEVER_OPENS
    return {"fc": found}


def test_known_states_take_the_place_of_drawn_ones():
    die = Die(BANK, seed=1, stuck=states())
    g = die.branches("fc", ROWS, COLUMNS, measured=False)
    same = g.g_closed == g.g_open
    assert np.argwhere(same).tolist() == [[0, 0, 1], [1, 1, 2]]
    assert g.g_closed[0, 0, 1] < 1e-8 < 1e-7 < g.g_open[1, 1, 2]
    asked = np.zeros((2, 2, 3), bool)
    asked[0] = True
    ohm = die.switches("fc", ROWS, COLUMNS, asked)
    assert (ohm[0, 0, 1], ohm[0, 0, 0], ohm[1, 1, 2], ohm[1, 1, 1]) == (1e9, 1e3, 1e3, 1e9)


def test_states_are_part_of_what_a_die_is():
    other = states()
    other["fc"][0, 0, 0, 0] = NEVER_OPENS
    names = {Die(BANK, 1).id, Die(BANK, 1, stuck=states()).id, Die(BANK, 1, stuck=other).id}
    assert len(names) == 3
    assert Die(BANK, 1, stuck=states()) == Die(BANK, 1, stuck=states())


def test_bad_states():
    with pytest.raises(ValueError, match=r"shape \(n_in, n_out, 2, 3\); got"):
        Die(BANK, stuck={"fc": np.zeros((2, 2, 3), int)})
    with pytest.raises(ValueError, match="must hold 0"):
        Die(BANK, stuck={"fc": np.full((2, 2, 2, 3), 7)})
