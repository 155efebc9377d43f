"""Pages as tests look at them: what they are made of, and how they behave in Chromium."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

#: Chromium, if this machine has it.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
#: Elements without content.
EMPTY = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """What a page is made of: tags with their attributes, and tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@contextmanager
def launched() -> Iterator[Any]:
    """Yield a Chromium without a window; it is closed at the end."""
    from playwright import sync_api

    with sync_api.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path) -> Iterator[Any]:
    """Yield a page, wide and light; at the end, it has asked for nothing and nothing has failed."""
    page = browser.new_page(viewport={"width": 1300, "height": 900}, color_scheme="light")
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{path}")
    yield page
    page.close()
    assert said == []
    far = [url for url in asked if not url.startswith(("data:", "blob:", "file:"))]
    assert far == []
