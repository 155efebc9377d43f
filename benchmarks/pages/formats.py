"""docs/reference/report.md: the keys of report.json, from the schema that every report is checked by."""

import json
from typing import Any

from benchmarks.common import ROOT
from benchmarks.pages.tables import table
from crossbar_sim.pipeline.finished_run import REPORT_VERSION


def report_page() -> str:
    """Return the page of report.json."""
    schema = json.loads((ROOT / "crossbar_sim/report/report.schema.json").read_text())
    parts = [
        "# report.json",
        "Written from the JSON Schema that each report is checked by (`crossbar-sim schema report`). "
        f"{schema['description']} This is version {REPORT_VERSION}; a report states its own under `versions`. "
        "A larger first number means that keys went or changed; programs that read a report check it.",
        _table(schema["properties"]),
    ]
    for key, part in schema["properties"].items():
        rows = _inner(part)
        if rows:
            parts += [f"## {key}", part.get("description", ""), _table(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _inner(part: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the keys inside an object or list, each with its whole path."""
    inner = part.get("items", part)
    found: dict[str, Any] = {}
    for key, below in inner.get("properties", {}).items():
        name = f"{prefix}{key}{'[]' if below.get('type') == 'array' else ''}"
        found[name] = below
        found |= _inner(below, f"{name}.")
    return found


def _table(parts: dict[str, Any]) -> str:
    rows = [[f"`{key}`", _kind(part), part.get("description", "")] for key, part in parts.items()]
    return table(["key", "kind", "meaning"], rows)


def _kind(part: dict[str, Any]) -> str:
    """Return the JSON types that a value may have."""
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_kind(one) for one in part["anyOf"]))
    kinds = part.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
