"""The tests themselves: each can fail, has a short name, and its helpers say what they take."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests").rglob("*.py"))
TESTS = [path for path in FILES if path.name.startswith("test_")]
#: What makes another thing to go through out of what it is given, with as many members.
VIEWS = ("zip", "enumerate", "sorted", "items", "values", "keys", "pairwise", "walk")


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    """Yield every function of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def is_assertion(node: ast.AST) -> bool:
    """Return whether a node is `assert`, or one of NumPy's or torch's functions that assert."""
    name = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
    return isinstance(node, ast.Assert) or name.startswith("assert_")


def is_written_out(expression: ast.AST) -> bool:
    """Return whether what a loop goes through stands in the file, and so is not empty."""
    if isinstance(expression, ast.Call):
        name = getattr(expression.func, "attr", getattr(expression.func, "id", ""))
        return name == "range" or (name in VIEWS and any(map(is_written_out, parts(expression))))
    if isinstance(expression, ast.Name):
        return expression.id.isupper()
    return isinstance(expression, ast.Tuple | ast.List | ast.Dict | ast.Set)


def parts(call: ast.Call) -> list[ast.expr]:
    """Return what a view such as `zip(a, b)` or `a.items()` is of."""
    return call.args or ([call.func.value] if isinstance(call.func, ast.Attribute) else [])


def sources(expression: ast.expr) -> list[str]:
    """Return the texts of what a loop goes through, one of which must not be empty."""
    if isinstance(expression, ast.Starred | ast.Subscript):
        return [ast.unparse(expression.value)]
    name = ""
    if isinstance(expression, ast.Call):
        name = getattr(expression.func, "attr", getattr(expression.func, "id", ""))
    if name in VIEWS and isinstance(expression, ast.Call):
        return [text for part in parts(expression) for text in sources(part)]
    return [ast.unparse(expression)]


def unguarded_loops(function: ast.FunctionDef) -> list[int]:
    """Return the lines of loops that assert, over what no other assertion of the test is about."""
    found = []
    for loop in ast.walk(function):
        if not isinstance(loop, ast.For) or is_written_out(loop.iter):
            continue
        if any(map(is_assertion, ast.walk(loop))):
            inside = set(ast.walk(loop))
            others = [n for n in ast.walk(function) if is_assertion(n) and n not in inside]
            said = " ".join(map(ast.unparse, others))
            if not any(text in said for text in sources(loop.iter)):
                found.append(loop.lineno)
    return found


def test_a_loop_without_a_turn_does_not_pass():
    """Where all there is to fail is in a loop, an assertion says that there is something."""
    loops = [
        f"{path.relative_to(ROOT)}:{line} {function.name}"
        for path in TESTS
        for function in functions(path)
        if function.name.startswith("test_")
        for line in unguarded_loops(function)
    ]
    assert loops == []


def test_names_fit_a_line():
    names = [function.name for path in TESTS for function in functions(path)]
    assert len(names) > 500
    assert [name for name in names if len(name) > 68] == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("for x in f(): assert x", [2]),
        ("for x in a.tiles: assert x", [2]),
        ("for x, y in zip(a.tiles, b): assert x == y", [2]),
        ("assert len(a.tiles) > 1\n for x in a.tiles: assert x", []),
        ("for x in (1, 2): assert x", []),
        ("for x in f(): print(x)", []),
    ],
)
def test_what_counts_as_a_loop_without_a_guard(code, lines):
    (function,) = ast.parse(f"def test():\n {code}").body
    assert isinstance(function, ast.FunctionDef)
    assert unguarded_loops(function) == lines
