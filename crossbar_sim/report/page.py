"""Pages that need nothing else: templates filled in, with pictures, style and script inside."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
from matplotlib.figure import Figure

from crossbar_sim.report import formats
from crossbar_sim.report.run_plots import png, svg
from tinynets.files.drafts import new_file

#: Filters of all templates.
FILTERS = {
    "si": lambda value, unit: formats.si(value, unit).replace("-", "−"),
    "number": formats.number,
    "percent": formats.percent,
    "small_percent": formats.small_percent,
    "power_of_ten": formats.power_of_ten,
    "plain": formats.plain,
    "count": formats.count,
    "metric": formats.metric,
    "interval": formats.interval,
    "probability": formats.probability,
    "verdict": formats.verdict,
    "joined": formats.joined,
}
#: The space between a number and what belongs to it.
_UNIT = re.compile(
    r"(?<=[\d=<]) (?=[%×…\d]|[pnµmkMG]?[JVAΩFSWsm]\b|µ?nat|points|p\b)|(?<=[×…]) (?=\d)"
    r"|(?<=\bp) (?=[=<])"
)


def write_page(path: Path, template: str, figures: Mapping[str, Figure], **values: Any) -> None:
    """Write a page, with its figures as SVG.

    template: in the folder `templates`.
    figures: by the names that the template has for them.
    values: what else the template names.
    """
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    drawn = {name: markupsafe.Markup(svg(figure, name)) for name, figure in figures.items()}
    text = _environment().get_template(template).render(charts=drawn, made=made, **values)
    with new_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_pictures(directory: Path, figures: Mapping[str, Figure]) -> None:
    """Write each figure as NAME.png into a directory."""
    directory.mkdir(exist_ok=True)
    for name, figure in figures.items():
        (directory / f"{name}.png").write_bytes(png(figure))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crossbar_sim.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS | {"embedded": embedded, "unbroken": unbroken}
    return environment


def unbroken(text: str) -> str:
    """Return a sentence whose numbers stay on one line with their units."""
    return _UNIT.sub("\u00a0", text)


def embedded(value: Any) -> markupsafe.Markup:
    """Return JSON that may stand inside a script element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return markupsafe.Markup(text.replace("<", "\\u003c"))
