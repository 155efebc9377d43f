"""The page on pruning: its snippets run in order, and what they print is what the text claims."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "pruning.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the snippets define, all run in one namespace."""
    found: dict = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), found)
    return found


def test_the_snippets_run_and_prune(names):
    assert names["network"].digital == ()
    assert [layer.n_mvm for layer in names["network"].layers] == [64, 9, 1]
    accuracy, data = names["accuracy"], names["data"]
    for model in ("model", "small", "lines", "bits"):
        assert accuracy(names[model], data.x_test, data.y_test) > 0.85
    assert names["report"]["compression_ratio"] > 4
    assert names["off"] < 0.5
    assert names["held_out"][names["chosen"]] >= names["held_out"][0.0] - 0.02
    assert names["tested"] > 0.7


def test_every_name_of_the_page_exists():
    import tinynets
    from tinynets import lottery

    text = PAGE.read_text()
    for package, word in ((tinynets, "tinynets"), (lottery, "lottery")):
        names = re.findall(rf"`{word}\.(\w+)", text)
        assert names
        for name in names:
            assert hasattr(package, name), name
