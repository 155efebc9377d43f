"""Size of the code: length of modules and functions, arguments, annotations, docstrings.

Run: python -m benchmarks.checks.house_numbers  (a second; kept in results/house_numbers.json)

The length of a function excludes its docstring; its arguments include `self`. Methods and nested
functions count too. A function is annotated if any argument or its result is. It is public if its
name does not start with an underscore.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.common import ROOT, print_table, save_json

PACKAGES = ("tinynets", "mapping", "netlists", "crossbar_sim")
#: Limits: lines of a function, arguments of a function (two limits).
LONG, MANY, MOST = 50, 5, 6


@dataclass(frozen=True)
class Function:
    """One function: its place and what is counted."""

    place: str
    n_line: int
    n_argument: int
    annotated: bool
    public: bool
    documented: bool


def functions_of(path: Path) -> Iterator[Function]:
    """Yield every function of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            yield Function(
                place=f"{path.relative_to(ROOT)}:{node.name}",
                n_line=(node.end_lineno or node.lineno) - node.lineno + 1 - _lines(text),
                n_argument=len(arguments),
                annotated=bool(node.returns or any(a.annotation for a in arguments)),
                public=not node.name.startswith("_"),
                documented=text is not None,
            )


def _lines(text: str | None) -> int:
    return text.count("\n") + 1 if text else 0


def numbers(packages: tuple[str, ...]) -> dict[str, int | float | str]:
    """Return the rows of the table for some packages together."""
    paths = [path for name in packages for path in sorted((ROOT / name).rglob("*.py"))]
    modules = [path.read_text(encoding="utf-8").count("\n") for path in paths]
    functions = sorted((f for p in paths for f in functions_of(p)), key=lambda f: f.n_line)
    public = [f for f in functions if f.public]
    return {
        "lines": sum(modules),
        "modules": len(modules),
        "module, median": round(median(modules)),
        "module, longest": max(modules),
        "functions": len(functions),
        "function, median": median(f.n_line for f in functions),
        "function, 90th percentile": functions[int(0.9 * len(functions))].n_line,
        "function, longest": functions[-1].n_line,
        "the longest": functions[-1].place,
        f"over {LONG} lines, share": share(f.n_line > LONG for f in functions),
        "arguments, most": max(f.n_argument for f in functions),
        f"over {MANY} arguments": sum(f.n_argument > MANY for f in functions),
        f"over {MOST} arguments": sum(f.n_argument > MOST for f in functions),
        "annotated, share": share(f.annotated for f in functions),
        "public with docstring, share": share(f.documented for f in public),
    }


def share(holds: Iterator[bool]) -> float:
    """Return the share of true cases, to four digits."""
    cases = list(holds)
    return round(sum(cases) / len(cases), 4)


def main() -> None:
    """Count, print and keep."""
    table = {name: numbers((name,)) for name in PACKAGES} | {"together": numbers(PACKAGES)}
    shown = [key for key in table["together"] if key != "the longest"]
    rows = [[key, *(columns[key] for columns in table.values())] for key in shown]
    print_table("the four packages", ["", *table], rows)
    print(f"\n  the longest function: {table['together']['the longest']}")
    save_json("house_numbers", table)


if __name__ == "__main__":
    main()
