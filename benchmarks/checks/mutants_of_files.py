"""Real files with something changed in them, each change drawn from a seed."""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

#: TOML values that somebody might put in place of a right one.
VALUES = (
    "nan", "inf", "-inf", "-1", "0", "-0.0", "1", "2", "0.5", "1e308", "1e-308", "1e16", "true",
    "false", "9" * 40, "9" * 5000, "0x7fffffffffffffff", '""', '"x"', '"\\u0000"', '"a\\nb"', "[]",
    '"ünï😀"', '"../../../../etc/passwd"', '"/dev/zero"', '"canary.py:make"', '"a/../canary.py:f"',
    '"pipe.safetensors"', '"pipe.npz"', '"pipe.toml"',
    '"pipe.toml"', '"loop.npz"', '"folder.pt"', '"/proc/self/mem"', "{}",
    '"%s.onnx"' % ("a" * 300), '"%s"' % ("a" * 20000), "[[]]", "[1, 2]", '[1, "x"]', "{ a = 1 }",
    "1979-05-27T07:32:00Z", "07:32:00", "[" * 300 + "]" * 300, '"\\u202e"', "1_000_000_000_000",
    '"$(touch pwned)"', '"`touch pwned`"', '"~/x.npz"', "[nan]", '["mlp"]', '"digits"', '"inf"',
)  # fmt: skip
_KEYS = ("nonsense", '"ä ö"', "a.b.c", "bank.n", '""', "__class__", "_folder", "_trusted", "name")
_KEYS += ("network.python", "data.source", "x" * 3000, ".".join("a" * 39), "model.kind", "seed")
_TABLES = ("[bank]", "[nonsense]", "[[bank]]", "[a.b.c]", "[prune]", "[foundry]", "[data]", "[ä]")
_ASSIGNED = re.compile(r"^(\s*[^#\[=]+=\s*)(.*)$")


def mutated_toml(text: str, other: str, rng: np.random.Generator) -> tuple[bytes, str]:
    """Return a TOML text with one to four changes, and the name of the last one.

    other: of which lines are spliced in.
    """
    content, name = text.encode(), ""
    for _ in range(1 + min(3, rng.geometric(0.6) - 1)):
        change = _TOML[rng.integers(len(_TOML))]
        name = change.__name__.strip("_")
        content = change(content, other, rng)
    return content, name


def _lines(content: bytes) -> list[str]:
    return content.decode(errors="surrogateescape").split("\n")


def _joined(lines: list[str]) -> bytes:
    return "\n".join(lines).encode(errors="surrogateescape")


def _assigned(lines: list[str], rng: np.random.Generator) -> int | None:
    """Return the number of a line that assigns a value."""
    found = [k for k, line in enumerate(lines) if _ASSIGNED.match(line)]
    return found[rng.integers(len(found))] if found else None


def _value(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    lines = _lines(content)
    at = _assigned(lines, rng)
    if at is not None:
        value = VALUES[rng.integers(len(VALUES))]
        lines[at] = _ASSIGNED.sub(lambda m: m[1] + value, lines[at])
    return _joined(lines)


def _near_value(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    """Scale a number, so that it stays plausible."""
    factor = (0, 0.1, 0.5, 2, 10, -1, 1e6)[rng.integers(7)]
    text = content.decode(errors="surrogateescape")
    found = list(re.finditer(r"(?<=[ \[])\d+(\.\d+)?(e-?\d+)?", text))
    if not found:
        return content
    match = found[rng.integers(len(found))]
    number = float(match[0]) * factor
    whole = match[1] is None and match[2] is None and number.is_integer()
    changed = str(int(number)) if whole else repr(number)
    text = text[: match.start()] + changed + text[match.end() :]
    return text.encode(errors="surrogateescape")


def _swapped_values(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    lines = _lines(content)
    one, two = _assigned(lines, rng), _assigned(lines, rng)
    if one is not None and two is not None:
        value = {k: _ASSIGNED.match(lines[k])[2] for k in (one, two)}  # pyright: ignore[reportOptionalSubscript]
        for k, other in ((one, two), (two, one)):
            lines[k] = _ASSIGNED.sub(lambda m, v=value[other]: m[1] + v, lines[k])
    return _joined(lines)


def _new_key(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    lines = _lines(content)
    value = VALUES[rng.integers(len(VALUES))]
    lines.insert(rng.integers(len(lines) + 1), f"{_KEYS[rng.integers(len(_KEYS))]} = {value}")
    return _joined(lines)


def _new_table(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    lines = _lines(content)
    lines.insert(rng.integers(len(lines) + 1), _TABLES[rng.integers(len(_TABLES))])
    return _joined(lines)


def _doubled_line(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    lines = _lines(content)
    lines.insert(rng.integers(len(lines) + 1), lines[rng.integers(len(lines))])
    return _joined(lines)


def _lost_line(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    lines = _lines(content)
    del lines[rng.integers(len(lines))]
    return _joined(lines)


def _spliced(content: bytes, other: str, rng: np.random.Generator) -> bytes:
    lines, more = _lines(content), other.split("\n")
    start, at = rng.integers(len(more)), rng.integers(len(lines) + 1)
    return _joined([*lines[:at], *more[start : start + rng.integers(1, 12)], *lines[at:]])


def _misspelt_key(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    lines = _lines(content)
    at = _assigned(lines, rng)
    if at is not None:
        letter = rng.integers(max(1, len(lines[at].partition("=")[0].rstrip())))
        lines[at] = lines[at][:letter] + 'éq_.\t"'[rng.integers(6)] + lines[at][letter + 1 :]
    return _joined(lines)


def _cut(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def damaged(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Return bytes with some of them changed, taken away or put in, and how."""
    data, kind = bytearray(content), rng.integers(8)
    at = int(rng.integers(len(data))) if data else 0
    length = int(rng.integers(1, 65))
    if kind < 3 and data:
        for place in rng.integers(len(data), size=1 if kind == 0 else length):
            data[place] ^= int(rng.integers(1, 256))
        return bytes(data), "bytes flipped"
    if kind == 3:
        return bytes(data[:at]), "cut"
    if kind == 4:
        return bytes(data[:at] + rng.bytes(length) + data[at:]), "bytes put in"
    if kind == 5:
        return bytes(data[:at] + data[at + length :]), "bytes taken away"
    if kind == 6:
        data[at : at + length] = bytes(min(length, len(data) - at))
        return bytes(data), "bytes zeroed"
    other = int(rng.integers(len(data))) if data else 0
    return bytes(data[:at] + data[other : other + 16 * length] + data[at:]), "bytes doubled"


def _damaged(content: bytes, _other: str, rng: np.random.Generator) -> bytes:
    return damaged(content, rng)[0]


_TOML: tuple[Callable[[bytes, str, np.random.Generator], bytes], ...] = (
    _value, _value, _value, _near_value, _near_value, _swapped_values, _new_key, _new_table,
    _doubled_line, _lost_line, _spliced, _misspelt_key, _cut, _damaged,
)  # fmt: skip


def mutated_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an array with other values, another order, shape or type."""
    flat, kind = array.copy().ravel(), rng.integers(9)
    at = rng.integers(flat.size) if flat.size else 0
    odd = (0, 1, -1, 255, 2**31, np.nan, np.inf, 1e300, 1e-300)[rng.integers(9)]
    with np.errstate(all="ignore"):
        if kind == 0 and flat.size and array.dtype.kind in "biuf":
            flat[at] = np.array([odd]).astype(array.dtype)[0]
        elif kind == 1 and array.dtype.kind == "f":
            flat = flat * (1 + 10.0 ** rng.integers(-8, 1))
        elif kind == 2:
            rng.shuffle(flat)
        elif kind == 3 and flat.size:
            flat[at] = flat[rng.integers(flat.size)]
        elif kind == 4:
            return array[..., :-1] if array.ndim else array.reshape(1)
        elif kind == 5:
            return array[None]
        elif kind == 6:
            names = ("f4", "f2", "i8", "u1", "?", "c16", "U3", ">f8", "M8[s]", "S2", "i1")
            kind = names[rng.integers(len(names))]
            return array if array.dtype.kind in "US" else array.astype(kind)
        elif kind == 7:
            return np.roll(array, 1)
        else:
            return np.asfortranarray(array) if array.ndim > 1 else np.append(array, array)
    return flat.reshape(array.shape)


def npz_claiming(arrays: dict[str, np.ndarray], name: str, shape: str) -> bytes:
    """Return an NPZ file, one array of which claims a shape that it has not."""
    whole = io.BytesIO()
    np.savez(whole, **arrays)
    changed = io.BytesIO()
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            if entry == f"{name}.npy":
                content = re.sub(rb"'shape': \([^)]*\)", f"'shape': {shape}".encode(), content)
            new.writestr(entry, content)
    return changed.getvalue()


def mutated_table(text: str, rng: np.random.Generator) -> str:
    """Return a CSV text with a value, a row or a column changed."""
    lines = text.splitlines()
    k, j = rng.integers(len(lines), size=2)
    cells, kind = lines[k].split(","), rng.integers(7)
    at = rng.integers(len(cells))
    if kind == 0:
        cells[at] = ("", "x", "nan", "-1", "1e999", "é", '"', "=cmd()", "9" * 400)[rng.integers(9)]
    elif kind == 1:
        number = re.sub(r"\d", lambda m: str(rng.integers(10)), cells[at], count=1)
        cells[at] = number
    elif kind == 2:
        cells[at] = lines[j].split(",")[min(at, lines[j].count(","))]
    elif kind == 3:
        cells = cells[:-1]
    lines[k] = ",".join(cells)
    if kind == 4:
        del lines[j]
    elif kind == 5:
        lines.insert(j, lines[k])
    elif kind == 6:
        lines[k], lines[j] = lines[j], lines[k]
    return "\n".join(lines) + "\n"


def mutated_json_numbers(value: object, rng: np.random.Generator) -> str:
    """Return JSON text in which one number is a little different, so that it stays plausible."""
    text = json.dumps(value)
    found = list(re.finditer(r"(?<=[ \[])-?\d+(\.\d+)?(e-?\d+)?(?=[,\]}])", text))
    match = found[rng.integers(len(found))]
    number = json.loads(match[0])
    step = (1, -1, number, -number, 0.01 * number)[rng.integers(5)]
    return text[: match.start()] + json.dumps(number + step) + text[match.end() :]


def replaced(path: Path, rng: np.random.Generator, outside: Path) -> str:
    """Put something else at the place of a file: nothing, a folder, a link, a pipe."""
    kind = rng.integers(6)
    path.unlink()
    if kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(outside)
    elif kind == 3:
        os.mkfifo(path)
    elif kind == 4:
        path.symlink_to(path)
    elif kind == 5:
        path.symlink_to("/dev/zero")
    return ("file gone", "folder", "link outside", "pipe", "link to itself", "endless file")[kind]
