"""What a study or a search found, ready for sentences, charts and tables."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.study.metrics import METRICS
from crossbar_sim.study.runner import PointSummary, Study
from crossbar_sim.study.search import Search
from crossbar_sim.study.store import Record
from crossbar_sim.study_report.comparison import Pairs, compare
from crossbar_sim.study_report.names import Key, key_of, point_text, varied

#: Metrics by which a point is costly, in the order in which a chart prefers them.
COSTS = ("energy", "n_resistor", "area", "power")
#: Whether more (1) or less (-1) of a run's `measure.metric` is better.
_SCORES: dict[str, int] = {
    "accuracy": 1,
    "top-5": 1,
    "agreement": 1,
    "cosine": 1,
    "relative error": -1,
    "mse": -1,
}


@dataclass(frozen=True)
class Found:
    """The results of a study, or of the points that a search tried.

    study: with the points that were tried.
    metrics: those of most interest, the first one first.
    search: if the points are those of one.
    """

    study: Study
    metrics: tuple[str, ...]
    search: Search | None = None

    @cached_property
    def at(self) -> list[int]:
        """The places, among the points of the study, of those with a result."""
        if self.search is not None and not self.search.tried:
            return []
        return [k for k, records in enumerate(self.study.counted()) if records]

    @cached_property
    def summaries(self) -> list[PointSummary]:
        """The points with a result, over their trainings and dies."""
        return self.study.summary() if self.at else []

    @cached_property
    def records(self) -> list[list[Record]]:
        """The trials that count, of each point with a result."""
        counted = self.study.counted()
        return [counted[k] for k in self.at]

    @cached_property
    def points(self) -> list[dict[str, Any]]:
        """The points with a result."""
        return [summary.point for summary in self.summaries]

    @cached_property
    def keys(self) -> dict[str, Key]:
        """The keys in which points differ, for people."""
        config = self.study.by_point[0][0].config
        return {key: key_of(key, config) for key in varied(self.study.points)}

    def number(self, k: int) -> int:
        """Return the number of the k-th point with a result among all points, from 1."""
        return self.at[k] + 1

    def name(self, k: int) -> str:
        """Return the k-th point in words."""
        return point_text(self.points[k], self.keys)

    def first(self, k: int) -> RunConfig:
        """Return the settings of the k-th point on the first of its dies."""
        key = self.records[k][0].key
        return next(t.config for t in self.study.by_point[self.at[k]] if t.key == key)

    @property
    def score(self) -> str | None:
        """Return the run's `measure.metric`."""
        return self.study.base.measure.metric

    # ---- the best --------------------------------------------------------------------------------

    @property
    def judge(self) -> str:
        """The metric by which points are judged: held-out images in place of test images."""
        first = self.metrics[0]
        held_out = self.summaries and "accuracy_validation" in self.summaries[0].metrics
        return "accuracy_validation" if first == "accuracy" and held_out else first

    @property
    def direction(self) -> int:
        """1 if more of the judging metric is better, -1 if less is, 0 if neither is known."""
        if self.search is not None:
            return 1 if self.judge in self.search.aims.maximise else -1
        if self.judge == "score":
            return _SCORES.get(self.score or "", 0)
        return {"more": 1, "less": -1, "": 0}[METRICS[self.judge].better]

    @cached_property
    def allowed(self) -> list[int]:
        """The points that may be best: all of a study, those within the budget of a search."""
        if self.search is None:
            return list(range(len(self.summaries)))
        return [k for k, tried in enumerate(self.search.tried) if tried.feasible]

    @cached_property
    def best(self) -> int | None:
        """The best point by the judging metric, the first of several; None if none is known."""
        if not self.direction or not self.allowed:
            return None
        return max(self.allowed, key=lambda k: self.direction * self.mean(k, self.judge))

    @cached_property
    def others(self) -> list[int]:
        """The other points that may be best, the better ones first."""
        rest = [k for k in self.allowed if k != self.best]
        return sorted(rest, key=lambda k: -self.direction * self.mean(k, self.judge))

    @cached_property
    def equals(self) -> list[int]:
        """The other points that are not told apart from the best, even in a comparison alone."""
        best = self.best
        if best is None:
            return []
        pairs = self.pairs
        return [
            k for k in self.others if not (pairs.differs(best, k) or pairs.differs_alone(best, k))
        ]

    @cached_property
    def pairs(self) -> Pairs:
        """Every two points that may be best, by the judging metric."""
        values = self.values(self.judge)
        values[[k for k in range(len(values)) if k not in self.allowed]] = np.nan
        return compare(values)

    def mean(self, k: int, metric: str) -> float:
        """Return the mean of a metric at the k-th point."""
        return self.summaries[k].metric(metric).value

    def values(self, metric: str) -> np.ndarray:
        """Return a metric (n_point, n_training, n_die), NaN where a trial does not count."""
        config = self.study.config
        table = np.full((len(self.at), config.trainings, config.dies), np.nan)
        for row, at, records in zip(table, self.at, self.records):
            known = {record.key: record.metrics[metric] for record in records}
            for place, trial in enumerate(self.study.by_point[at]):
                die, training = divmod(place, config.trainings)
                row[training, die] = known.get(trial.key, np.nan)
        return table

    # ---- against a cost --------------------------------------------------------------------------

    @cached_property
    def cost(self) -> str | None:
        """The metric on the other axis of a chart of what is gained and what it costs."""
        if self.search is not None:
            return self.search.aims.names[1] if len(self.search.aims.names) > 1 else None
        asked = [*(name for name in self.metrics[1:] if name in COSTS), *COSTS]
        return next((name for name in asked if name != self.judge and self._varies(name)), None)

    def _varies(self, name: str) -> bool:
        known = [s.metrics[name].value for s in self.summaries if name in s.metrics]
        return len(known) == len(self.summaries) and len(set(known)) > 1

    @cached_property
    def front(self) -> list[int]:
        """The points that no other beats both in the judging metric and in the cost, by means."""
        if self.search is not None:
            return [k for k, tried in enumerate(self.search.tried) if tried.best]
        if self.cost is None or not self.direction:
            return []
        gains = [self.direction * self.mean(k, self.judge) for k in self.allowed]
        costs = [self.mean(k, self.cost) for k in self.allowed]
        return [
            k
            for k, gain, cost in zip(self.allowed, gains, costs)
            if not any(
                g >= gain and c <= cost and (g, c) != (gain, cost) for g, c in zip(gains, costs)
            )
        ]
