"""What a study found, in sentences for whoever reads no further."""

from typing import Any

from crossbar_sim.report.formats import SIGNIFICANT, count, joined, probability
from crossbar_sim.study.metrics import METRICS, OF_TESTS
from crossbar_sim.study.runner import PointSummary
from crossbar_sim.study.tables import image_share, of_images
from crossbar_sim.study_report.found import Found
from crossbar_sim.study_report.names import (
    difference_text,
    interval_text,
    is_share,
    metric_text,
    value_text,
)

#: Fewest independent values whose interval hardly depends on their distribution.
_ENOUGH = 5
#: Standard errors beyond which a page says how far apart points must be.
_FAR = 6.0
#: Most values of a key, and most points, that a sentence lists.
_MAX_LISTED = 8
#: Most points that a sentence names with their differences.
_MAX_NAMED = 3
#: Most letters of a point's words where a sentence names several points.
_MAX_WORDS = 64


def headline(f: Found) -> list[dict[str, str]]:
    """Return the title and the text of each statement at the top of a study's page."""
    texts = {"What was asked": asked(f)}
    if not f.summaries:
        return [_statement(*pair) for pair in (texts | {"What came": _nothing(f)}).items()]
    texts["The best points"] = best(f)
    texts["What it costs"] = costs(f)
    texts["What limits the statement"] = limits(f)
    texts["Failed trials"] = failed(f)
    return [_statement(title, text) for title, text in texts.items() if text]


def _statement(title: str, text: str) -> dict[str, str]:
    return {"title": title, "text": text}


def _nothing(f: Found) -> str:
    return (
        f"No point has a result: {count(len(f.study.failures), 'trial')} failed, for the reasons "
        "below."
    )


# ---- what was asked ------------------------------------------------------------------------------


def asked(f: Found) -> str:
    """Return what was varied, and on how many dies and trainings."""
    if f.search is not None:
        return _sought(f)
    config, names = f.study.config, [METRICS[name].label for name in f.metrics]
    keys = [f"{label} ({_values(f, key, unit)})" for key, (label, unit) in f.keys.items()]
    what = joined(names).replace("MVM", "the MVM")
    several = len(names) > 1
    text = f"How large {'are' if several else 'is'} {what} on other dies?"
    if keys:
        text = f"How {'do' if several else 'does'} {what} depend on {joined(keys)}?"
    each = _repeated(config.trainings, config.dies)
    n_trial = sum(map(len, f.study.by_point))
    return (
        f"{text} {count(len(f.study.points), 'point')}, "
        f"{'each ' if len(f.study.points) > 1 else ''}on {each}: {count(n_trial, 'trial')}."
    )


def _values(f: Found, key: str, unit: str) -> str:
    """Return the values of a key, or the first and the last of many numbers."""
    values: list[Any] = list({str(p[key]): p[key] for p in f.study.points if key in p}.values())
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if len(values) > _MAX_LISTED and numeric:
        ends = (value_text(end(values), unit) for end in (min, max))
        return f"{len(values)} values, {' … '.join(ends)}"
    if len(values) > _MAX_LISTED:
        return f"{len(values)} of them"
    ordered = sorted(values) if numeric else values
    return ", ".join(value_text(value, unit) for value in ordered)


def _repeated(n_training: int, n_die: int) -> str:
    """Return what each point was repeated on."""
    dies = count(n_die, "die")
    if n_training > 1:
        return f"{n_training} trainings, {dies} each"
    return f"the same {dies}, trained once" if n_die > 1 else "one die, trained once"


def _sought(f: Found) -> str:
    assert f.search
    aims, config = f.search.aims, f.study.config
    more = [f"high {METRICS[name].label}" for name in aims.maximise]
    less = [f"low {METRICS[name].label}" for name in aims.minimise]
    bounds = [
        f"{METRICS[name].label} at most {metric_text(bound, name)}"
        for name, bound in aims.budget.items()
    ]
    budget = f" under a budget ({joined(bounds)})" if bounds else " without a budget"
    return (
        f"Which settings give {joined([*more, *less])}{budget}? NSGA-II (seed {aims.seed}) chose "
        f"{count(aims.n, 'point')} in generations of {aims.population}, of which "
        f"{len(f.summaries):,} differ and have a result, each on "
        f"{_repeated(config.trainings, config.dies)}."
    )


# ---- the best ------------------------------------------------------------------------------------


def best(f: Found) -> str:
    """Return the best point, and whether the next ones differ by more than the dies explain."""
    label = METRICS[f.judge].label
    if not f.direction:
        return (
            f"Whether more or less {label} is better is not known, so that none is named the best."
        )
    if f.best is None:
        return "No point is within the budget."
    top = f.summaries[f.best]
    found = interval_text(top.metric(f.judge), f.judge, f.score)
    text = f"Point {f.number(f.best)}{_words(f, f.best)}: {label} {found}, {_of(top)}."
    text += _test_accuracy(f)
    if not f.others:
        return text
    if not f.pairs.n_test:
        return f"{text} With one die, no difference can be told from chance."
    return f"{text} {_others(f)}"


def _others(f: Found) -> str:
    """Return how many other points are shown to be worse, and which are not."""
    assert f.best is not None
    n, pairs = len(f.others), f.pairs.n_test
    worse = sum(f.pairs.differs(f.best, k) for k in f.others)
    alone = n - worse - len(f.equals)
    adjusted = f", adjusted for all {pairs:,} pairs of points (Holm)" if pairs > 1 else ""
    text = f"{_shown(worse, n)} to be worse on the same dies{adjusted}"
    if alone:
        text += f"; {alone:,}{' more' if worse else ''} only if each pair is taken alone"
    if not f.equals:
        return f"{text}. The nearest is {_named(f, f.others[0])}, {_less(f, f.others[0])}."
    listed = [f"{_named(f, k)}, {_less(f, k)}" for k in f.equals[:_MAX_NAMED]]
    more = f"; and {len(f.equals) - _MAX_NAMED:,} more" if len(f.equals) > _MAX_NAMED else ""
    return f"{text}. Not told apart from it: {'; '.join(listed)}{more}."


def _shown(worse: int, n: int) -> str:
    """Return how many of n other points are shown."""
    if n == 1:
        return f"The other one is {'shown' if worse else 'not shown'}"
    if worse == n:
        return f"All {n:,} others are shown"
    number = f"{worse:,}" if worse else "None"
    return f"{number} of the {n:,} others {'are' if worse > 1 else 'is'} shown"


def _less(f: Found, k: int) -> str:
    """Return what another point has more or less than the best, with its own interval."""
    assert f.best is not None
    return difference_text(f.pairs.interval(f.best, k), f.judge)


def _named(f: Found, k: int) -> str:
    """Return a point by its number, with its words if they are few."""
    words = _words(f, k)
    return f"point {f.number(k)}{words if len(words) <= _MAX_WORDS else ''}"


def _words(f: Found, k: int) -> str:
    return f" ({f.name(k)})" if f.keys else ""


def _of(summary: PointSummary) -> str:
    """Return of what a mean is."""
    if summary.n_training > 1:
        return f"mean of {summary.n_training} trainings of {count(summary.n_die, 'die')} each"
    return f"mean of {summary.n_die} dies" if summary.n_die > 1 else "of one die"


def _test_accuracy(f: Found) -> str:
    """Return the test accuracy of a point that was judged by held-out images."""
    assert f.best is not None
    found = f.summaries[f.best].metrics.get("accuracy")
    if f.judge != "accuracy_validation" or found is None:
        return ""
    return (
        f" Its test accuracy, by which nothing was chosen, is {interval_text(found, 'accuracy')}."
    )


# ---- what it costs -------------------------------------------------------------------------------


def costs(f: Found) -> str:
    """Return the points on the front, and the cheapest one that is not told apart from the best."""
    if f.cost is None or f.best is None:
        return ""
    cheap = min([f.best, *f.equals], key=lambda k: f.mean(k, f.cost or ""))
    text = f"The best takes {_amount(f, f.best)}."
    if f.pairs.n_test and f.mean(cheap, f.cost) < f.mean(f.best, f.cost):
        text += f" Of the points not told apart from it, {_named(f, cheap)} takes least: "
        text += f"{_amount(f, cheap)}."
    return f"{text} {_front(f)}"


def _amount(f: Found, k: int) -> str:
    """Return what a point costs, `16.7 nJ (energy of an inference)` or `3,792 resistors`."""
    assert f.cost
    text, metric = metric_text(f.mean(k, f.cost), f.cost), METRICS[f.cost]
    return f"{text} ({metric.label})" if metric.unit else f"{text} {metric.label}"


def _front(f: Found) -> str:
    """Return which points no other beats in both."""
    assert f.cost
    n = len(f.front)
    numbers = [str(f.number(k)) for k in f.front[:_MAX_LISTED]]
    listed = joined(numbers) if n <= _MAX_LISTED else f"{', '.join(numbers)} …"
    within = " within the budget" if f.search and f.search.aims.budget else ""
    both = f"{METRICS[f.judge].label} and {METRICS[f.cost].label}"
    which = f"Point {listed} is" if n == 1 else f"Points {listed} are"
    return (
        f"{which} beaten by no other{within} in both {both}; this goes by means, so that "
        "neighbours may be there by chance."
    )


# ---- what limits it ------------------------------------------------------------------------------


def limits(f: Found) -> str:
    """Return what the intervals do not cover, and what would narrow them."""
    k = f.best if f.best is not None else 0
    top = f.summaries[k]
    parts = [_dies(f, top), _needed(f, top), _images(f, top), _picked(f)]
    return " ".join(part for part in parts if part)


def _dies(f: Found, top: PointSummary) -> str:
    units = top.n_training if top.n_training > 1 else top.n_die
    if units == 1:
        return "One die: nothing is known of other dies and trainings, so no interval is stated."
    wide = half_text(top, f.judge)
    text = f"The interval ({wide} at the best point) is of other trainings and their dies."
    if top.n_training == 1:
        text = (
            f"The interval ({wide} at the best point) is of other dies, not of other trainings, "
            "which may change more than another die does."
        )
    if units < _ENOUGH:
        kind = "trainings" if top.n_training > 1 else "dies"
        text += f" With {units} {kind} it is wide, and right only for nearly normal values."
    return text


def _needed(f: Found, top: PointSummary) -> str:
    """Return how far two points must be apart to be told apart, where that is far."""
    units = top.n_training if top.n_training > 1 else top.n_die
    if f.best is None or units < 2 or f.pairs.n_test < 2 or f.pairs.needed(units) < _FAR:
        return ""
    kind = "trainings" if top.n_training > 1 else "dies"
    return (
        f"With {units} {kind} and {f.pairs.n_test:,} pairs, a difference is shown only from about "
        f"{f.pairs.needed(units):.0f} of its standard errors on; fewer points, or more {kind}, "
        "show more."
    )


def half_text(top: PointSummary, metric: str) -> str:
    """Return half the width of an interval, `± 0.4 points`."""
    half = top.metric(metric).half_width
    if is_share(metric):
        return f"± {100 * half:.1f} points"
    return f"± {metric_text(half, metric)}"


def _images(f: Found, top: PointSummary) -> str:
    """Return what the number of test images leaves, where a share of them is judged."""
    if not is_share(f.judge):
        return ""
    share = image_share(top)
    n, half = top.metric("n_test").value, of_images(top)
    text = (
        f"All points and dies see the same {n:,.0f} test images; other images would change the "
        f"{METRICS[share].label} of each by about ± {100 * half:.1f} points (binomial), which no "
        "number of dies narrows."
    )
    ours = top.metric(f.judge).half_width
    if ours < half:
        text += " That is more than the dies leave: more images would tell more than more dies."
    return text


def _picked(f: Found) -> str:
    """Return whether the best was picked by what it is then praised for."""
    if len(f.allowed) < 2 or not f.direction:
        return ""
    if f.judge == "accuracy_validation":
        return (
            "Points were picked by held-out images, so that the choice flatters the held-out "
            "accuracy of the best, but not its test accuracy."
        )
    where = "dies and test images" if f.judge in OF_TESTS else "dies"
    instead = " or images (validation)" if f.judge in OF_TESTS else ""
    return (
        f"The best was picked by the same {where} that its figure is of, which flatters it; other "
        f"dies (first_die){instead} tell without that."
    )


def failed(f: Found) -> str:
    """Return how many trials failed."""
    n = len(f.study.failures)
    if not n:
        return ""
    total = sum(map(len, f.study.by_point))
    return (
        f"{n:,} of {count(total, 'trial')} failed. A die with a failed trial is left out of its "
        "point, and pairs are of the dies that both points have."
    )


# ---- charts --------------------------------------------------------------------------------------


def chart_title(f: Found, metric: str) -> str:
    """Return what a chart draws and of what."""
    return titled(f, METRICS[metric].label)


def titled(f: Found, what: str) -> str:
    """Return a title: what is drawn, and what the means are of."""
    of = repeated(f)
    return f"{what[0].upper()}{what[1:]}{' ' if of.startswith('of') else ': '}{of}"


def repeated(f: Found) -> str:
    """Return what the means of all points are of."""
    of = list(dict.fromkeys(_of(summary) for summary in f.summaries))
    text = of[0] if len(of) == 1 else "means of up to " + max(of, key=len).removeprefix("mean of ")
    single = all(summary.n_training * summary.n_die == 1 for summary in f.summaries)
    return text if single else f"{text}, 95 % intervals"


def chart_text(f: Found, metric: str) -> str:
    """Return what a chart of a metric shows."""
    label, less = METRICS[metric].label, METRICS[metric].better == "less"
    means = [f.mean(k, metric) for k in range(len(f.summaries))]
    low, high = (metric_text(end(means), metric, f.score) for end in (min, max))
    name = f"{label[0].upper()}{label[1:]}"
    if low == high:
        return f"{name}: {low}{' at every point' if len(means) > 1 else ''}."
    k = means.index(min(means) if less else max(means))
    end = f"{'least' if less else 'most'} at point {f.number(k)}{_words(f, k)}"
    return f"{name}: from {low} to {high} between points; {end}."


def verdict(f: Found, k: int) -> str:
    """Return in words how a point compares with the best."""
    if f.best is None:
        return ""
    if k == f.best:
        return "best"
    if k not in f.allowed:
        return "over budget"
    p = float(f.pairs.p[f.best, k])
    if p != p:
        return "not tested"
    if p < SIGNIFICANT:
        return f"worse ({probability(p)})"
    alone = f.pairs.differs_alone(f.best, k)
    return f"{'worse, if taken alone' if alone else 'no difference shown'} ({probability(p)})"
