"""One study and one search whose trials are made up, with their pages."""

from pathlib import Path

import pytest
from made_studies import made_search, made_study

from crossbar_sim.study_report.found import Found
from crossbar_sim.study_report.study_page import write_study_page

METRICS = ("accuracy", "mvm_error", "energy")
COMMAND = "crossbar-sim study made.toml --output made"


@pytest.fixture(scope="package")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A study of branches and objectives on six dies."""
    grid = {"bank.n": [1, 2, 3, 4], "select.objective": ["error", "aware"]}
    root = tmp_path_factory.mktemp("study")
    return Found(made_study(root, dies=6, grid=grid), METRICS)


@pytest.fixture(scope="package")
def page(found: Found, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that study."""
    return write_study_page(found, tmp_path_factory.mktemp("page") / "made.html", COMMAND)


@pytest.fixture(scope="package")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A search under a budget, on two trainings of two dies."""
    search, study = made_search(tmp_path_factory.mktemp("search"))
    return Found(study, search.aims.names, search)
