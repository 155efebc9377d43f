"""A run's directory: whatever moment it is killed at, the older or the newer run is found."""

import shutil
from pathlib import Path

import pytest

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.pipeline.finished_run import read_run
from crossbar_sim.pipeline.workspace import Workspace

CONFIG = RunConfig(name="r")


class Killed(BaseException):
    """Stands for the end of the process."""


def finished(root: Path, text: str) -> Workspace:
    work = Workspace(root, CONFIG, resume=False)
    work.path("report.json").write_text(text)
    return work


@pytest.mark.parametrize("at", [1, 2])
def test_a_finish_that_is_killed_is_completed_by_the_next_run(tmp_path, monkeypatch, at):
    """Killed before the first rename that moves a directory, or before the second."""
    finished(tmp_path, "old").finish()
    work, rename, n = finished(tmp_path, "new"), Path.rename, iter(range(1, 9))

    def renamed(path, target):
        if path.is_dir() and next(n) == at:
            raise Killed
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", renamed)
        with pytest.raises(Killed):
            work.finish()
    if at == 2:
        with pytest.raises(ConfigError, match=r"\.r\.old and .*\.r\.partial.* --resume continues"):
            read_run(tmp_path / "r")
    Workspace(tmp_path, CONFIG, resume=False)
    assert (tmp_path / "r" / "report.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".r.partial", "r"]
    assert [path.name for path in (tmp_path / "r").glob("fin*")] == []


def test_an_older_run_that_was_moved_away_comes_back(tmp_path):
    finished(tmp_path, "old").finish()
    (tmp_path / "r").rename(tmp_path / ".r.old")
    shutil.rmtree(tmp_path / ".r.partial", ignore_errors=True)
    Workspace(tmp_path, CONFIG, resume=False)
    assert (tmp_path / "r" / "report.json").read_text() == "old"


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 10**5, "\x80"])
def test_damaged_settings_of_an_interrupted_run(tmp_path, text):
    Workspace(tmp_path, CONFIG, resume=False).path("config.json").write_text(text, "latin-1")
    with pytest.raises(ConfigError, match=r"config\.json is damaged: .*run without --resume"):
        Workspace(tmp_path, CONFIG, resume=True)
