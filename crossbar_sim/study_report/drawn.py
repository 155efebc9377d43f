"""The charts of what a study found."""

from matplotlib.figure import Figure

from crossbar_sim.study.metrics import METRICS
from crossbar_sim.study_report.charts import OTHER, OVER, Drawing, design, trade_off
from crossbar_sim.study_report.found import Found
from crossbar_sim.study_report.names import key_of
from crossbar_sim.study_report.sentences import chart_title, titled


def design_chart(f: Found, metric: str, note: str = "") -> Figure:
    """Draw a metric against the key on the study's x axis.

    note: what the intervals cover, in small print.
    """
    config, base = f.study.config, f.study.base
    points = [config.drawn(point, base) for point in f.points]
    x = config.x or next(iter(f.keys), "point")
    asked = dict.fromkeys([x, *config.panel])
    known = f.study.by_point[0][0].config
    keys = {key: f.keys.get(key) or key_of(key, known) for key in [*f.keys, *asked]}
    how = Drawing(x, tuple(config.panel), keys, chart_title(f, metric), note)
    return design(points, [summary.metric(metric) for summary in f.summaries], metric, how)


def trade_off_chart(f: Found) -> Figure:
    """Draw the judging metric against the cost, of every point.

    Raises ValueError for a study without a cost.
    """
    if f.cost is None:
        raise ValueError("no metric of this study is a cost; draw one metric alone")
    pairs = [(s.metric(f.judge), s.metric(f.cost)) for s in f.summaries]
    kinds = [OTHER if k in f.allowed else OVER for k in range(len(pairs))]
    for k in f.front:
        kinds[k] = f"{f.number(k)}"
    title = titled(f, f"{METRICS[f.judge].label} against {METRICS[f.cost].label}")
    return trade_off(pairs, kinds, (f.judge, f.cost), title)
