"""Tables of a study."""

from typing import Any

from crossbar_sim.study.intervals import image_half_width
from crossbar_sim.study.runner import PointSummary, Study
from tinynets.files.outputs import csv_text


def summary_rows(study: Study, metrics: list[str]) -> list[dict[str, Any]]:
    """Return one row per point: its values, trainings, dies, metrics with intervals, yield.

    Column "interval" says what the intervals cover. Column "images" is the half width that the
    number of test images leaves to an accuracy, on top of dies and trainings.
    """
    rows = []
    for summary in study.summary():
        row = {**summary.point, "n_training": summary.n_training, "n_die": summary.n_die}
        row |= {"interval": summary.basis, "images": of_images(summary)}
        for name in metrics:
            row |= summary.metric(name).columns(name)
        rows.append(row | summary.yield_.columns("yield"))
    return rows


def summary_csv(study: Study, metrics: list[str]) -> str:
    """Return `summary_rows` as CSV."""
    return csv_text(summary_rows(study, metrics), digits=6)


def usual_metrics(study: Study) -> list[str]:
    """Return the metrics of most interest; without labels or power, there are fewer."""
    found = study.summary()
    known = found[0].metrics if found else ("accuracy", "mvm_error", "energy")
    first = "accuracy" if "accuracy" in known else "agreement"
    return [name for name in (first, "mvm_error", "energy") if name in known]


def of_images(summary: PointSummary) -> float:
    """Return the half width that the number of test images leaves to a point's accuracy.

    Without labels, to its agreement with the digital network.
    """
    share = summary.metric(image_share(summary)).value
    return image_half_width(share, summary.metric("n_test").value)


def image_share(summary: PointSummary) -> str:
    """Return the metric that is the share of test images: the agreement, without labels."""
    return "accuracy" if "accuracy" in summary.metrics else "agreement"


def covered(summaries: list[PointSummary]) -> str:
    """Return one sentence on what the intervals of all points cover, and what they do not."""
    bases = dict.fromkeys(summary.basis for summary in summaries)
    n_test = dict.fromkeys(f"{summary.metric('n_test').value:,.0f}" for summary in summaries)
    widest = max(of_images(summary) for summary in summaries)
    return (
        f"95 % intervals, {' or '.join(bases)}; not of the {' or '.join(n_test)} test images, "
        f"which leave ± {100 * widest:.1f} points or less to an accuracy (binomial)"
    )
