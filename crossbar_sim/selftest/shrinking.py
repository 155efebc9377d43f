"""A failing case made as small and plain as it can be while it still fails in the same way."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from crossbar_sim.selftest.case import Case, Shape
from crossbar_sim.selftest.checks import Failure, LeftOut, Tools, failure

#: Most cases that are tried for one failure.
TRIALS = 400


def shrunk(found: Failure, tools: Tools, *, trials: int = TRIALS) -> Failure:
    """Return the same failure of the simplest case that was found, one change at a time."""
    seen = {found.case}
    while True:
        for case in simpler(found.case):
            if case in seen or len(seen) > trials:
                continue
            seen.add(case)
            smaller = _failure(found, case, tools)
            if smaller is not None:
                found = smaller
                break
        else:
            return found


def _failure(like: Failure, case: Case, tools: Tools) -> Failure | None:
    """Return how a case fails, if that is as another one does."""
    try:
        now = failure(like.check, case, tools)
    except LeftOut:
        return None
    return now if now and (now.check, now.kind) == (like.check, like.kind) else None


def simpler(case: Case) -> Iterator[Case]:
    """Yield cases with one thing less or plainer, the largest steps first."""
    for k, shape in enumerate(case.shapes):
        rest = case.shapes[:k] + case.shapes[k + 1 :]
        if rest:
            yield replace(case, shapes=rest)
        for smaller in _smaller(shape):
            yield replace(case, shapes=(*case.shapes[:k], smaller, *case.shapes[k + 1 :]))
    plain = Case()
    for name in ("wires", "periphery", "tile", "density", "empty", "n_vector"):
        yield from _with(case, name, getattr(plain, name))
    for name in ("wires", "periphery", "bank"):
        part = getattr(case, name)
        for item in fields(part):
            if item.name != "n":
                default = getattr(getattr(plain, name), item.name)
                yield from (replace(case, **{name: p}) for p in _with(part, item.name, default))
    for n in sorted({1, case.bank.n // 2, case.bank.n - 1}):
        if 0 < n < case.bank.n:
            yield replace(case, bank=replace(case.bank, n=n))
    for seed in range(min(case.seed, 3)):
        yield replace(case, seed=seed)


def _with(whole: Any, name: str, value: Any) -> Iterator[Any]:
    """Yield what has another value of a field, unless it has that already."""
    if getattr(whole, name) != value:
        yield replace(whole, **{name: value})


def _smaller(shape: Shape) -> Iterator[Shape]:
    """Yield shapes with fewer weights or without a convolution."""
    if shape.kernel:
        yield Shape(shape.n_out, shape.n_in)
        yield Shape(shape.n_out, shape.n_in, shape.kernel - 1 or 1)
    for n in sorted({1, shape.n_out // 2, shape.n_out - 1} - {0, shape.n_out}):
        yield Shape(n, shape.n_in)
    for n in sorted({1, shape.n_in // 2, shape.n_in - 1} - {0, shape.n_in}):
        yield Shape(shape.n_out, n)
