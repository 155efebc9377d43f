"""A study's tables and plots."""

import os
from collections.abc import Callable
from pathlib import Path

from crossbar_sim import plots
from crossbar_sim.study import Study, csv_text


def summary_csv(study: Study, metrics: list[str]) -> str:
    """Return one CSV line per point: its values, dies, each metric with its interval, yield."""
    rows = []
    for summary in study.summary():
        row = {**summary.point, "n_die": summary.n_die}
        for name in metrics:
            interval = summary.metric(name)
            row |= {
                name: interval.value,
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
        share = summary.yield_
        row |= {"yield": share.value, "yield_low": share.low, "yield_high": share.high}
        rows.append(row)
    return csv_text(rows, digits=6)


def save_study(study: Study, stem: Path, metrics: list[str]) -> list[Path]:
    """Write STEM.csv (all trials), STEM.parquet and STEM-METRIC.png; return their paths.

    Raises ImportError that names the extra when Parquet cannot be written.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    frame = study.to_pandas()
    summaries = study.summary()
    paths = [
        _write(
            stem.with_name(f"{stem.name}.csv"),
            lambda p: p.write_text(study.to_csv(), encoding="utf-8"),
        ),
        _write(stem.with_name(f"{stem.name}.parquet"), lambda p: frame.to_parquet(p)),
    ]
    for name in metrics:
        found = [summary.metric(name) for summary in summaries]
        picture = plots.study(
            [study.config.drawn(summary.point, study.base) for summary in summaries],
            [(interval.value, interval.low, interval.high) for interval in found],
            name,
            x=study.config.x,
            panel=study.config.panel,
        )
        path = stem.with_name(f"{stem.name}-{name}.png")
        paths.append(_write(path, lambda p, picture=picture: p.write_bytes(picture)))
    return paths


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write(draft)
    draft.replace(path)
    return path
