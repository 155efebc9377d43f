"""Drawings of the theory pages, as SVG that follows a dark page; numbers in them come from the code."""

import numpy as np

from mapping import Die, ResistorBank
from tinynets.subset_sum import solve

STYLE = "<style>svg{color:#24292f}text{fill:currentColor}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>"
_WIDTH, _ROW, _LEFT = 640, 30, 150


def sums() -> str:
    """Return the sums that banks of 1 … 8 branches of one die can make, and the nearest one to a target."""
    lines, target, top = [], 0.4207, 34
    for n in range(1, 9):
        bank = ResistorBank(n=n, sigma_local=0.05)
        g = 1 / Die(bank, seed=1).resistances("fc", np.zeros(1, int), np.zeros(1, int))[0, 0]
        full, y = g.sum(), top + _ROW * n
        values = (
            np.array([g[[bool(mask >> k & 1) for k in range(n)]].sum() for mask in range(2**n)])
            / full
        )
        error = abs(float(solve((g / full)[None], np.array([target])).value[0]) - target)
        path = "".join(f"M{_at(v)} {y}v-16" for v in np.sort(values))
        opacity = max(0.3, 1 - n / 10)
        lines.append(
            f'<path d="{path}" stroke="currentColor" stroke-width=".8" opacity="{opacity:.2f}"/>'
        )
        lines.append(f'<text x="8" y="{y - 3}">n = {n}, off by {error:.2%}</text>')
    x, bottom = _at(target), top + _ROW * 8 + 4
    lines.append(f'<path d="M{x} {top}V{bottom}" stroke="#dd6b20" stroke-width="1.6"/>')
    lines.append(f'<text x="{x + 6}" y="{top + 8}">target</text>')
    lines.append(f'<text x="{_LEFT}" y="{bottom + 16}">0</text>')
    lines.append(
        f'<text x="{_WIDTH - 14}" y="{bottom + 16}" text-anchor="end">all switches closed</text>'
    )
    title = "All sums of a bank of n branches, and how far the nearest one is from a target"
    return _svg(
        title,
        "\n".join([f'<text x="8" y="18" font-weight="600">{title}</text>', *lines]),
        bottom + 26,
    )


def _at(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - 14), 1)


def _svg(title: str, body: str, height: int) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    font = 'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="12"'
    return (
        f'{head} role="img" fill="none" {font}>\n<title>{title}</title>\n{STYLE}\n{body}\n</svg>\n'
    )
