"""The sections of the README on pruning are made from what the scripts kept."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sections(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("_tables_pruning").sections()


def test_every_section_is_whole(sections):
    assert len(sections) == 7
    for text in sections:
        assert not re.search(r"\bnan\b|None|\{", text), text
        (script,) = set(re.findall(r"`(?:python )?(benchmarks/\w+\.py)", text))
        assert (ROOT / script).exists()
    whole = "\n\n".join(sections)
    pictures = re.findall(r"\]\((\S+\.png)\)", whole)
    assert len(pictures) >= 2
    assert [name for name in pictures if not (ROOT / name).exists()] == []
    blocks = re.findall(r"(?:^\|.*\n?)+", whole, re.MULTILINE)
    assert len(blocks) >= len(sections)
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
