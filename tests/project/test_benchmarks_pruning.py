"""The sections of the README on pruning are made from what the scripts kept."""

import re
from pathlib import Path

from benchmarks.pages import pruning

ROOT = Path(__file__).parents[2]


def test_every_section_is_whole():
    sections = pruning.sections()
    assert len(sections) == 7
    for text in sections:
        assert not re.search(r"\bnan\b|None|\{", text), text
        (script,) = set(re.findall(r"`(?:python -m )?benchmarks[./](\w+)[./](\w+)", text))
        assert (ROOT / "benchmarks" / script[0] / f"{script[1]}.py").exists()
    whole = "\n\n".join(sections)
    pictures = re.findall(r"\]\((\S+\.png)\)", whole)
    assert len(pictures) >= 2
    assert [name for name in pictures if not (ROOT / name).exists()] == []
    blocks = re.findall(r"(?:^\|.*\n?)+", whole, re.MULTILINE)
    assert len(blocks) > 3
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
