"""Accept or refuse a certificate of selections; needs Python and numpy, and nothing else here.

Run: python selection_checker.py FILE [--exact] [--sample N]

It states a pair of banks for each weight: the conductances of each branch, closed and open, which
switches are closed, and the target of g_pos - g_neg. It is accepted if all of this can be shown:

1. The stated switches give each bank a conductance inside its interval.
2. No choice of switches of the pair comes nearer to its target than `least`.
3. Where `optimal` is set, the stated choice misses its target by no more than `least` and 2^-46 of
   the power of two above the sum of all magnitudes of the pair, for rounding.

Proof of 2: sort x = target - (all open) - (any choice of the positive bank) and y = the change by
any choice of the negative one, 2^n numbers each, together. Nothing lies between the nearest x and
y, so the least distance of neighbours of different kinds is the least error. Numbers are rounded
to multiples of 2^-60 of that power and added as 64-bit integers, which is exact: 2 n + 1 numbers,
each off by half a unit, move an error by less than n + 1 units, which every condition gives away.
With --exact, integers of any size are used, and none is rounded."""

import argparse
import sys
import zipfile

import numpy as np

#: Arrays of a certificate: kinds (i, u whole numbers, f doubles, b truths, U texts), dimensions.
ARRAYS = {"version": ("iu", 0), "tiles": ("U", 1), "n_cell": ("u", 1), "place": ("u", 2)}
ARRAYS |= {"g_closed": ("f", 3), "g_open": ("f", 3), "closed": ("u", 2), "target": ("f", 1)}
ARRAYS |= {"low": ("f", 2), "high": ("f", 2), "least": ("f", 1), "optimal": ("b", 1)}
#: Bits of the sum of magnitudes, those of the allowance, and those behind the point of any double.
VERSION, BITS, ALLOWED, FINEST = 1, 60, 14, 1074
REASONS = "outside its interval", "choices are nearer than `least`", "not the nearest choice"


class Refused(ValueError):
    """A certificate that proves nothing; the text says why."""


def demand(condition, reason):
    """Refuse the certificate unless the condition holds."""
    if not condition:
        raise Refused(reason)


def read(path):
    """Return the arrays of a file by name; nothing in it is executed."""
    try:
        with np.load(path, allow_pickle=False) as file:
            c = {name: file[name] for name in file.files}
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, ValueError) as error:
        raise Refused(f"it cannot be read ({error})") from error
    demand(set(c) == set(ARRAYS), "its arrays are not those of a certificate of selections")
    for name, (kinds, n_dim) in ARRAYS.items():
        demand(c[name].dtype.kind in kinds and c[name].ndim == n_dim, f"{name} is of another type")
        wide = c[name].dtype == np.float64 and (np.abs(c[name]) < 1e200).all()
        demand(kinds != "f" or wide, f"{name} is not of finite doubles")
    check_form(c)
    return c


def check_form(c):
    """Refuse arrays that do not fit each other, and cells that are missing or stated twice."""
    demand(int(c["version"]) == VERSION, "it is of another version")
    count, n = len(c["target"]), c["g_closed"].shape[2]
    demand(1 <= n <= 20 and c["g_closed"].shape == c["g_open"].shape == (count, 2, n), "no banks")
    for name in ("place", "closed", "low", "high"):
        demand(c[name].shape == (count, 2), f"{name} is not of two numbers a cell")
    demand(len(c["least"]) == len(c["optimal"]) == count, "claims are missing")
    demand(not (c["closed"].astype(np.uint64) >> np.uint64(n)).any(), "a switch is not there")
    demand(len(set(c["tiles"])) == len(c["tiles"]) == len(c["n_cell"]), "tiles are not as stated")
    demand((c["n_cell"] <= count).all() and c["n_cell"].sum() == count, "cells are missing")
    tile, place = np.repeat(np.arange(len(c["tiles"])), c["n_cell"]), c["place"].astype(np.int64)
    after = np.diff((tile << 40) + (place[:, 0] << 20) + place[:, 1]) > 0
    demand((place < 2**20).all() and after.all(), "cells are not in their order")


def integers(values, unit, exact, to=np.rint):
    """Return values as multiples of 2^-unit, rounded by `to`; of 2^-FINEST if they are exact."""
    if not exact:
        unit = unit.reshape(-1, *[1] * (values.ndim - 1))
        return np.clip(to(np.ldexp(values, unit)), -(2.0**62), 2.0**62).astype(np.int64)
    pairs = map(float.as_integer_ratio, values.ravel().tolist())
    whole = [top * (2**FINEST // bottom) for top, bottom in pairs]
    return np.array(whole, dtype=object).reshape(values.shape)


def sums(values):
    """Return the sums (n_cell, 2^n) of all choices of values (n_cell, n)."""
    found = values[:, :1] * 0
    for k in range(values.shape[1]):
        found = np.concatenate([found, found + values[:, k : k + 1]], axis=1)
    return found


def nearest(x, y):
    """Return the least distance (n_cell,) of one of x (n_cell, 2^n) and one of y (n_cell, 2^n)."""
    both = np.sort(np.concatenate([2 * x, 2 * y + 1], axis=1), axis=1)
    gap, kind = np.diff(both >> 1, axis=1), both & 1
    return np.where(kind[:, 1:] != kind[:, :-1], gap, gap.sum(axis=1)[:, None]).min(axis=1)


def failing(c, exact):
    """Return the cells (n_cell,) that fail by each of REASONS."""
    n = c["g_closed"].shape[2]
    size = np.abs(c["g_closed"]) + np.abs(c["g_open"])
    unit = BITS - np.frexp(size.sum(axis=(1, 2)) + np.abs(c["target"]))[1]
    slack, allowed = 0 if exact else n + 1, integers(np.ldexp(1.0, ALLOWED - unit), unit, exact)
    on, off, target = (integers(c[k], unit, exact) for k in ("g_closed", "g_open", "target"))
    low, above = (integers(c[k], unit, exact, np.ceil) for k in ("low", "least"))
    high, below = (integers(c[k], unit, exact, np.floor) for k in ("high", "least"))
    closed = c["closed"][:, :, None].astype(np.uint64) >> np.arange(n, dtype=np.uint64) & 1 == 1
    bank, none = np.where(closed, on, off).sum(axis=2), off.sum(axis=2)
    rest = target - none[:, 0] + none[:, 1]
    best = nearest(rest[:, None] - sums((on - off)[:, 0]), sums((off - on)[:, 1]))
    own = abs(bank[:, 0] - bank[:, 1] - target)
    outside = ((low + slack > bank) | (high - slack < bank)).any(axis=1)
    too_good = (c["least"] != 0) & (above + slack > best)
    return outside, too_good, c["optimal"] & (own + slack > below + allowed)


def check(path, *, exact=False, sample=None, seed=0):
    """Return the arrays of an accepted certificate, of which a sample or every cell is checked."""
    c = read(path)
    cells = np.random.default_rng(seed).permutation(len(c["target"]))[:sample]
    step = max(2**20 >> c["g_closed"].shape[2], 1)  # so many fit in the memory
    for own in (np.sort(cells[k : k + step]) for k in range(0, len(cells), step)):
        part = {key: a[own] for key, a in c.items() if len(a.shape) and len(a) == len(c["target"])}
        for fails, reason in zip(failing(part, exact), REASONS):
            k = own[np.argmax(fails)]
            tile = c["tiles"][np.searchsorted(np.cumsum(c["n_cell"]), k, "right")]
            demand(not fails.any(), f"tile {tile}, cell {c['place'][k].tolist()}: {reason}")
    return c


def main():
    """Check the file that is named; exit with 1 if it is refused."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("path", help="certificate (.npz)")
    parser.add_argument("--exact", action="store_true", help="integers of any size; slow")
    parser.add_argument("--sample", type=int, help="number of cells to look at; all by default")
    try:
        c = check(**vars(parser.parse_args()))
    except Refused as error:
        sys.exit(f"refused: {error}")
    count, proved = len(c["optimal"]), int(c["optimal"].sum())
    print(f"accepted: {count:,} pairs, {proved:,} nearest, {count - proved:,} not claimed optimal")


if __name__ == "__main__":
    main()
