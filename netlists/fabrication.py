"""What a laboratory or a fab needs: which switch of which branch is closed."""

import csv
from pathlib import Path

import numpy as np

from mapping.design import MappedNetwork
from mapping.tiles import closed_switches

COLUMNS = (
    "layer",
    "tile",
    "word_line",
    "bit_line",
    "input",
    "output",
    "side",
    "branch",
    "nominal_ohm",
    "measured_ohm",
    "closed",
)


def write_selection(mapped: MappedNetwork, path: str | Path) -> None:
    """Write one line for each branch of each cell that has devices; COLUMNS are its columns.

    word_line and bit_line count within the tile, input and output within the layer. measured_ohm
    is the meter's reading of the branch through its closed switch.
    """
    bank = mapped.die.bank
    nominal = [repr(float(r)) for r in bank.r_nominal]
    draft = Path(f"{path}.tmp")
    with draft.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for tile in mapped.tiles:
            i, j = np.nonzero(tile.present)
            rows, columns = tile.rows[i], tile.columns[j]
            chosen = np.stack([tile.chosen_pos[i, j], tile.chosen_neg[i, j]], axis=1)
            closed = closed_switches(chosen, bank.n)
            measured = mapped.die.measured(tile.layer, rows, columns)
            for c, (word, bit) in enumerate(zip(i, j)):
                place = (tile.layer, tile.name, word, bit, rows[c], columns[c])
                table.writerows(
                    (
                        *place,
                        side,
                        k,
                        nominal[k],
                        repr(float(measured[c, s, k])),
                        int(closed[c, s, k]),
                    )
                    for s, side in enumerate(("pos", "neg"))
                    for k in range(bank.n)
                )
    draft.replace(path)
