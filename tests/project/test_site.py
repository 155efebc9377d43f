"""The documentation site is built without a warning and reads well in a browser."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import CHROMIUM, launched

ROOT = Path(__file__).parents[2]
#: What a page may not have, found by a script in it.
_FAULTS = """() => [
  document.documentElement.scrollWidth > innerWidth ? 'wider than the window' : '',
  ...[...document.images].filter(i => !i.alt || !i.naturalWidth).map(i => 'picture ' + i.src),
].filter(Boolean)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the site needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    # The theme's own advertisement would hide the warnings.
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_nothing_is_fetched(site):
    pages = sorted((ROOT / "docs").rglob("*.md"))
    assert len(pages) > 35
    for page in pages:
        made = site / page.relative_to(ROOT / "docs").with_suffix(".html")
        text = made.read_text(encoding="utf-8")
        for tag in ('src="http', '<link rel="stylesheet" href="http', "@import url(http"):
            assert tag not in text, f"{page.name} fetches {tag}"


def test_files_that_pages_name_are_on_the_site(site):
    text = (site / "how_to" / "networks.html").read_text(encoding="utf-8")
    assert 'href="../files/examples/own_network.py"' in text
    assert (site / "files/examples/own_network.py").exists()
    assert (site / "files/benchmarks/results/layout_cell.png").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1300, "light")])
def test_pages_fit_a_phone_and_a_desk(site, width, scheme):
    pytest.importorskip("playwright.sync_api")
    faults, seen = [], []
    with launched() as browser:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("request", lambda request: seen.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        for path in sorted(site.rglob("*.html")):
            page.goto(path.as_uri())
            faults += [f"{path.name}: {fault}" for fault in page.evaluate(_FAULTS)]
    assert len(seen) > 100
    assert [url for url in seen if not url.startswith(("file:", "data:", "blob:"))] == []
    assert faults == []
