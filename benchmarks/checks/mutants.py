"""Small faults of a Python module: each is the module's whole text with one change.

A change replaces an operator, number, truth value, comparison or condition, removes a sign, swaps
two arguments, or drops a keyword. Messages, annotations, decorators and imports stay.
"""

import ast
import re
from collections.abc import Iterator

SKIPPED = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)
OPERATORS = {"+": "-", "-": "+", "*": "/", "/": "*", "**": "*", "//": "/", "%": "*", "@": "*"}
OPERATORS |= {"<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "|", "and": "or", "or": "and"}
OPERATORS |= {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
OPERATORS |= {"not in": "in", "in": "not in", "is not": "is", "is": "is not"}
TOKEN = re.compile("|".join(re.escape(x) for x in sorted(OPERATORS, key=len, reverse=True)))
#: Start and end in the text, and the text that replaces what is between them.
Edit = tuple[int, int, str]


class Source:
    """The text of a module, as bytes, and its syntax tree."""

    def __init__(self, text: bytes) -> None:
        self.text, self.tree = text, ast.parse(text)
        self.lines = [0, *(m.end() for m in re.finditer(b"\n", text))]

    def span(self, node) -> tuple[int, int]:
        """Return the start and end of a node in the text."""
        start = self.lines[node.lineno - 1] + node.col_offset
        return start, self.lines[node.end_lineno - 1] + node.end_col_offset

    def of(self, node) -> str:
        """Return the text of a node."""
        start, end = self.span(node)
        return self.text[start:end].decode()

    def between(self, left: ast.AST, right: ast.AST) -> Iterator[Edit]:
        """Change the operator between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        operator = TOKEN.search(self.text[start:end].decode())
        if operator:
            yield start + operator.start(), start + operator.end(), OPERATORS[operator.group()]

    def mutants(self) -> list[bytes]:
        """Return every mutated text whose program differs from the original."""
        changes = [edit for node in walk(self.tree) for edit in edits(self, node)]
        texts = [self.text[:a] + new.encode() + self.text[b:] for a, b, new in changes]
        original = ast.dump(self.tree)
        return [text for text in dict.fromkeys(texts) if syntax(text) not in (None, original)]


def syntax(text: bytes) -> str | None:
    """Return the syntax tree of a text as text, or None if the syntax is invalid."""
    try:
        return ast.dump(ast.parse(text))
    except SyntaxError:
        return None


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes that may be mutated."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, SKIPPED):
                yield child
                yield from walk(child)


def edits(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Yield the changes of one node."""
    match node:
        case ast.BinOp(left, _, right):
            yield from source.between(left, right)
        case ast.Compare(left, _, rights):
            for pair in zip([left, *rights], rights):
                yield from source.between(*pair)
        case ast.BoolOp(_, values):
            yield from source.between(*values[:2])
        case ast.Constant(value):
            yield from ((*source.span(node), new) for new in other_constant(value))
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield *source.span(node), f"({source.of(operand)})"
        case ast.If(test) | ast.IfExp(test) if not isinstance(test, ast.UnaryOp):
            yield *source.span(test), f"(not ({source.of(test)}))"
        case ast.Call():
            yield from other_arguments(source, node)


def other_constant(value: object) -> list[str]:
    """Return the text of another constant, or nothing if the value is not a number."""
    if isinstance(value, bool):
        return [str(not value)]
    if isinstance(value, int):
        return [repr(value + 1)]
    return [repr(2 * value or 1.0)] if isinstance(value, float) else []


def other_arguments(source: Source, call: ast.Call) -> Iterator[Edit]:
    """Yield edits that swap the first two arguments or drop a keyword."""
    if len(call.args) > 1:
        (start, end), (begin, stop) = (source.span(arg) for arg in call.args[:2])
        first, gap, second = (
            source.text[a:b].decode() for a, b in ((start, end), (end, begin), (begin, stop))
        )
        yield start, stop, second + gap + first
    for keyword in call.keywords:
        if keyword.arg:
            start, end = source.span(keyword)
            comma = re.match(rb"\s*,?", source.text[end:])
            yield start, end + (comma.end() if comma else 0), ""


def change(old: bytes, new: bytes) -> tuple[int, str, str]:
    """Return the first line that differs: its number, its old text and its new text."""
    pairs = enumerate(zip(old.decode().splitlines(), new.decode().splitlines()), 1)
    number, (before, after) = next((n, both) for n, both in pairs if both[0] != both[1])
    return number, before.strip(), after.strip()
