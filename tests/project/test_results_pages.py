"""The pages of results are made from what the scripts kept, and nothing in them is missing."""

import re
from pathlib import Path

import pytest

from benchmarks.pages.chapters import CHAPTERS, pages

ROOT = Path(__file__).parents[2]
PAGES = pages()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_page_of_results_is_whole(name):
    text = PAGES[f"{name}.md"]
    assert not re.search(r"\bnan\b|\bNone\b|\{\w*\}", text)
    scripts = set(re.findall(r"`(benchmarks/\w+/\w+\.py)", text))
    assert scripts
    assert [script for script in scripts if not (ROOT / script).exists()] == []
    pictures = re.findall(r"\]\((\S+\.png)\)", text)
    assert [p for p in pictures if not (ROOT / "docs/results" / p).exists()] == []
    sections = text.split("\n## ")
    assert len(sections) == 1 + len(CHAPTERS[name].sections)
    assert all(len(section.split()) > 15 for section in sections)


@pytest.mark.parametrize("name", PAGES)
def test_tables_have_as_many_cells_in_every_row(name):
    blocks = re.findall(r"(?:^\|.*\n?)+", PAGES[name], re.MULTILINE)
    widths = [{len(re.findall(r"(?<!\\)\|", row)) for row in b.splitlines()} for b in blocks]
    assert len(blocks) > 1 or name == "index.md"
    assert [width for width in widths if len(width) > 1] == []
