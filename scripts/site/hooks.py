"""What MkDocs asks while it builds the site: links that leave docs/ lead to copies within the site.

On a checkout, pages link to examples, schemas and pictures of benchmarks beside docs/. The site is
on its own, so each file that a page names this way is copied into its folder `files/`, and the link
is changed. A link to a folder, which a site cannot show, becomes its text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>\.\./[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files beside docs/ that pages link to."""
    found = set()
    for file in files.documentation_pages():
        for link in _LINK.finditer(file.content_string):
            found.add(_outside(file.src_uri, link["target"]))
    for path in sorted(found - {None}):
        if (ROOT / path).is_file():
            files.append(File.generated(config, _name(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that leave docs/ lead to the copies."""

    def moved(link: re.Match[str]) -> str:
        path = _outside(page.file.src_uri, link["target"])
        if path is None:
            return link[0]
        if not (ROOT / path).is_file():
            return link["text"].strip("[]")
        here = posixpath.dirname(page.file.src_uri)
        return f"{link['text']}({posixpath.relpath(_name(path), here or '.')})"

    return _LINK.sub(moved, markdown)


def _name(path: str) -> str:
    """Return the name on the site of a copy; a page of Markdown is shown as the text it is."""
    return f"files/{path}.txt" if path.endswith(".md") else f"files/{path}"


def _outside(page: str, target: str) -> str | None:
    """Return the path in the repository of what a page links to, or None if that is in docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    return None if path == "docs" or path.startswith("docs/") else path
