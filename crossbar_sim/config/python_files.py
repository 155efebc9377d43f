"""A file of the user's Python and the files beside it that it imports, without running any."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path


def neighbours(path: Path) -> dict[str, Path]:
    """Return the files of a file's folder that it imports, itself or through another, by module.

    Only import statements count, wherever they stand.
    """
    found: dict[str, Path] = {}
    ahead = [path]
    while ahead:
        file = ahead.pop()
        for parts in _imports(file, path.parent):
            for module, there in _files(path.parent, parts):
                if module not in found and there != path:
                    found[module] = there
                    ahead.append(there)
    return dict(sorted(found.items()))


def python_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of Python and of its neighbours; of its bytes if it has none.

    Raises OSError for a file that cannot be read.
    """
    code, beside = path.read_bytes(), neighbours(path)
    if not beside:
        return hashlib.sha256(code).hexdigest()
    digest = hashlib.sha256(hashlib.sha256(code).digest())
    for module, file in beside.items():
        digest.update(f"{module}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _imports(file: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield the modules that a file may import, as names from the folder."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # what it is, it says when it runs
    package = file.relative_to(folder).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            inside = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((*inside, alias.name) for alias in node.names)


def _files(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield the files of a module, and of the packages around it, that are in a folder."""
    for n in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:n])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                yield ".".join(parts[:n]), file
                break
