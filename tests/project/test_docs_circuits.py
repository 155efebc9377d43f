"""The snippets of docs/circuits.md run."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "circuits.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("k", range(len(SNIPPETS)))
def test_a_snippet_runs(k, capsys):
    exec(compile(SNIPPETS[k], f"{PAGE.name}, snippet {k}", "exec"), {})
    assert capsys.readouterr().out


def test_there_are_snippets():
    assert len(SNIPPETS) == 5
