"""Numbers as a report writes them: SI prefixes, one style of percent, no e-notation."""

import math
from collections.abc import Sequence

from crossbar_sim.findings.run_score import SHARES

#: Shown for what does not exist.
NOTHING = "–"
#: Probability below which a difference counts as more than chance.
SIGNIFICANT = 0.05
_PREFIXES = {-6: "a", -5: "f", -4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, form: str) -> str:
    """Return a value in a format such as '%.1f', or a dash for None."""
    return NOTHING if value is None else form % value


def si(value: float | None, unit: str) -> str:
    """Return a value with an SI prefix, as in `12.3 µW`, or a dash for None."""
    if value is None:
        return NOTHING
    if value == 0:
        return f"0 {unit}"
    rounded = float(f"{value:.2e}")  # first, since 999.9 is 1 k
    power = min(max(math.floor(math.log10(abs(rounded)) / 3), -6), 3)
    scaled = rounded / 1000.0**power
    text = f"{scaled:,.0f}" if abs(scaled) >= 1000 else f"{scaled:.3g}"
    return f"{text} {_PREFIXES[power]}{unit}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as `92.4 %`, or a dash for None."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %".replace("-", "−")


def small_percent(share: float | None) -> str:
    """Return an error as a percentage of two digits, `0.012 %`, or below that as a power of ten."""
    if share is None:
        return NOTHING
    if share == 0:
        return "0 %"
    if abs(share) < 1e-6:
        return power_of_ten(share)
    decimals = max(0, 1 - math.floor(math.log10(abs(100 * share))))
    return percent(share, decimals)


def power_of_ten(value: float | None, digits: int = 1) -> str:
    """Return a value such as `2.6 × 10⁻¹³`, or a dash for None."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    raised = str(int(exponent)).translate(_RAISED)
    return f"{mantissa} × 10{raised}"


def plain(value: float | None) -> str:
    """Return a value of four digits with thousands set apart, or a dash for None."""
    if value is None:
        return NOTHING
    if value == 0 or 1e-3 <= abs(value) < 1e15:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return power_of_ten(value, 2)


def count(value: int, noun: str) -> str:
    """Return a number with its noun, as in `1 image` and `1,200 images`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def metric(value: float | None, name: str) -> str:
    """Return the value of a metric: a share of the samples in percent."""
    if value is None:
        return NOTHING
    return percent(value) if name in SHARES else plain(value)


def interval(low: float | None, high: float | None) -> str:
    """Return the interval of a share as `89.6 … 94.6 %`, or a dash for None."""
    if low is None or high is None:
        return NOTHING
    return f"{100 * low:.1f} … {100 * high:.1f} %"


def probability(p: float | None) -> str:
    """Return `p = 0.45` in two digits."""
    if p is None:
        return NOTHING
    if p < 0.001:
        return "p < 0.001"
    return "p = 1" if p > 0.995 else f"p = {p:.2g}"


def verdict(p: float | None) -> str:
    """Return in words whether a difference is more than chance."""
    if p is None:
        return NOTHING
    return "a difference" if p < SIGNIFICANT else "no difference shown"


def joined(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
