"""The keys of runs and studies, from the tables themselves: a JSON Schema, a page, a TOML file."""

import ast
import inspect
import json
import textwrap
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from crossbar_sim.config.no_value import NONE, may_be_none
from crossbar_sim.config.run import RunConfig
from crossbar_sim.config.study import StudyConfig
from tinynets.settings import LARGEST

KINDS: dict[str, type[BaseModel]] = {"run": RunConfig, "study": StudyConfig}
#: A configuration of each kind with nothing but what must be given.
_DEFAULTS = {
    "run": RunConfig(name="run"),
    "study": StudyConfig(name="study", base=Path("run.toml")),
}
_ABOUT = {
    "run": "A run is one TOML file: `crossbar-sim run FILE`. Only `name` must be given.",
    "study": "A study varies a run: `crossbar-sim study FILE`. `name` and `base` must be given.",
}


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration, each key described.

    kind: "run" or "study". Infinity, which JSON lacks, is the text "Infinity" in it.
    """
    top = KINDS[kind]
    schema = _finite(top.model_json_schema())
    for name, table in _tables(top).items():
        part = schema if table is top else schema["$defs"][name]
        part["description"] = (inspect.getdoc(table) or "").partition("\n\n")[0]
        docs = field_docs(table)
        for key in part["properties"]:
            part["properties"][key]["description"] = docs.get(key, "")
        for key in may_be_none(table) & set(part["properties"]):
            part["properties"][key].setdefault("anyOf", []).append({"const": NONE})
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect} | schema


def field_docs(table: type) -> dict[str, str]:
    """Return the text beneath each field of a class and of those that it is made from."""
    docs: dict[str, str] = {}
    for cls in reversed(table.__mro__):
        if not (is_dataclass(cls) or issubclass(cls, BaseModel)) or cls is BaseModel:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:]):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(text)):
                    docs[name] = " ".join(str(text).split())
    return docs


def reference() -> str:
    """Return the page of all keys as Markdown."""
    parts = [
        "# Configuration",
        "Written by `crossbar-sim schema --markdown`. SI units; a key that is left out has its "
        'default; "none" is no value, where a key may have none; unknown keys and values out of '
        "bounds are refused before anything starts. "
        "`crossbar-sim schema run` prints the same as a JSON Schema, for editors.",
    ]
    for kind in KINDS:
        schema = json_schema(kind)
        parts += [f"## Keys of a {kind}", f"{_ABOUT[kind]} {schema['description']}"]
        parts += _section(schema, schema["properties"], {})
        tables = {key: part for key, part in schema["properties"].items() if _ref(part)}
        for key, part in tables.items():
            table = schema["$defs"][_ref(part)]
            parts += [f"### [{key}]", table["description"]]
            parts += _section(schema, table["properties"], part.get("default") or {})
    return "\n\n".join(parts) + "\n"


def commented_toml(kind: str, *, full: bool = False) -> str:
    """Return a TOML file of all keys with their defaults, which is read back as the defaults.

    kind: "run" or "study".
    full: whether each key has a comment with its meaning and its values.

    What has no default, or no value that TOML can say, is commented out.
    """
    schema, default = json_schema(kind), _DEFAULTS[kind]
    top = {key: getattr(default, key) for key in type(default).model_fields}
    plain = {key: part for key, part in schema["properties"].items() if not _ref(part)}
    plain = {key: part for key, part in plain.items() if not isinstance(top[key], dict)}
    lines = [f"# {line}" for line in textwrap.wrap(_ABOUT[kind], 98)]
    lines += _keys(plain, top, full=full)
    for key, part in schema["properties"].items():
        if key in plain:
            continue
        inner = schema["$defs"][_ref(part)] if _ref(part) else {"properties": {}}
        about = str(part.get("description") or inner.get("description", ""))
        sign = "# " if top[key] is None else ""
        lines += ["", *([f"# {line}" for line in textwrap.wrap(about, 98)] if full else [])]
        values = {name: getattr(top[key], name, None) for name in inner["properties"]}
        if top[key] is None:
            values = {name: p.get("default") for name, p in inner["properties"].items()}
        made = _keys(inner["properties"], values, full=full)
        lines += [f"{sign}[{key}]", *(f"{sign}{line}".rstrip() for line in made)]
    return "\n".join(lines) + "\n"


def _keys(parts: dict[str, Any], values: dict[str, Any], *, full: bool) -> list[str]:
    """Return the lines of some keys; what TOML cannot say is commented out."""
    lines = []
    for key, part in parts.items():
        if full:
            text = f"{part.get('description', '')} Values: {_values(part)}."
            lines += ["", *(f"# {line}" for line in textwrap.wrap(text, 96))]
        value = values[key]
        if value is None and {"const": NONE} in part.get("anyOf", []):
            value = NONE
        lines.append(f"# {key} =" if value is None else f"{key} = {toml_value(value)}")
    return lines


def run_toml(config: RunConfig) -> str:
    """Return a TOML file of all settings of a run, which is read back as the same run."""
    lines, tables = [], []
    for key, value in config.as_json().items():
        if isinstance(value, dict):
            part = getattr(config, key)
            lost = may_be_none(type(part))
            said = {k: NONE if v is None and k in lost else v for k, v in value.items()}
            said |= {k: getattr(part, k) for k, v in value.items() if v == "Infinity"}
            inner = [f"{k} = {toml_value(v)}" for k, v in said.items() if v is not None]
            tables += ["", f"[{key}]", *inner]
        elif value is not None:
            lines.append(f"{key} = {toml_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def toml_value(value: Any) -> str:
    """Return a plain value, or a list or a table of some, as TOML."""
    if isinstance(value, dict):
        inner = (f"{k} = {toml_value(v)}" for k, v in value.items() if v is not None)
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str | Path):
        # Of the characters that TOML wants escaped, JSON leaves one as it is.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)  # of a number; infinity is inf in both languages


def _tables(top: type[BaseModel]) -> dict[str, type]:
    """Return a configuration and all tables in it, by class name."""
    tables: dict[str, type] = {}
    waiting: list[Any] = [top]
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if not isinstance(kind, type) or kind.__name__ in tables:
            continue
        if issubclass(kind, BaseModel):
            tables[kind.__name__] = kind
            waiting += [field.annotation for field in kind.model_fields.values()]
        elif is_dataclass(kind):
            tables[kind.__name__] = kind
    return tables


def _ref(part: dict[str, Any]) -> str:
    """Return the name of the table that a key is, "" for a plain value."""
    refs = [part, *part.get("allOf", []), *part.get("anyOf", [])]
    return next((r["$ref"].rpartition("/")[2] for r in refs if "$ref" in r), "")


def _section(schema: dict[str, Any], keys: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    """Return the table of the plain keys of a part of a schema, if it has any."""
    rows = [
        f"| `{key}` | {_values(part)} | {_shown(defaults.get(key, part.get('default')))} "
        f"| {part.get('description', '')} |"
        for key, part in keys.items()
        if not _ref(part)
    ]
    head = "| key | values | default | meaning |\n|---|---|---|---|\n"
    return [head + "\n".join(rows)] if rows else []


def _values(part: dict[str, Any]) -> str:
    """Say which values a key takes."""
    if "anyOf" in part:
        given = [c for c in part["anyOf"] if c != {"type": "null"}]
        return " or ".join(map(_values, given if {"const": NONE} in given else part["anyOf"]))
    if "const" in part:
        return json.dumps(part["const"])
    if "enum" in part:
        return ", ".join(f'"{value}"' for value in part["enum"])
    name = {"integer": "whole number", "array": "list", "object": "table", "null": "left out"}
    kind = str(name.get(part.get("type", ""), part.get("type", "any")))
    if "items" in part and "type" in part["items"]:
        kind += f" of {_values(part['items'])}"
    return kind + _bounds(part)


def _bounds(part: dict[str, Any]) -> str:
    """Say the bounds of a number, without those that only keep it representable."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = {signs[key]: part[key] for key in signs if key in part}
    if said.get("≥") == 1 / LARGEST:
        del said["≥"]
        said = {">": 0} | said
    told = [f"{sign} {_number(x)}" for sign, x in said.items() if abs(x) < LARGEST]
    return f" {', '.join(told)}" if told else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _shown(value: Any) -> str:
    """Return a default as TOML would write it, nothing for one that is left out."""
    if value is None:
        return ""
    if value == "Infinity":
        return "`inf`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{json.dumps(value)}`"


def _finite(value: Any) -> Any:
    """Return a JSON value with infinities as the text that a configuration's JSON has."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return "Infinity" if value == float("inf") else value
