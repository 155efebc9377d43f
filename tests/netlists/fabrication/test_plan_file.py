"""The measurement plan as a file."""

import numpy as np
import pytest

from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import one_at_a_time, weighing_plan
from netlists.fabrication.plan_file import PlanError, read_plan, write_plan

HEAD = "reading,branch_0,branch_1,meter_relative,meter_siemens\n"
GOOD = "0,1,0,0.001,0\n1,0,1,0.001,0\n"


@pytest.mark.parametrize("plan", [one_at_a_time(5), weighing_plan(5)], ids=["single", "weighed"])
def test_a_plan_comes_back_the_same(tmp_path, plan):
    write_plan(plan, Meter(1e-3, 2.5e-9), tmp_path / "plan.csv")
    found, meter = read_plan(tmp_path / "plan.csv", 5)
    np.testing.assert_array_equal(found.closed, plan.closed)
    assert meter == Meter(1e-3, 2.5e-9)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.csv"]


def test_a_person_can_read_it_and_a_spreadsheet_may_have_saved_it(tmp_path):
    write_plan(one_at_a_time(2), Meter(1e-3), tmp_path / "plan.csv")
    text = (tmp_path / "plan.csv").read_text()
    assert text == HEAD + "0,1,0,0.001,0.0\n1,0,1,0.001,0.0\n2,0,0,0.001,0.0\n"
    (tmp_path / "plan.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_plan(tmp_path / "plan.csv", 2)[1] == Meter(1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a plan for banks of 2 branches must have columns reading, branch_0"),
        ("a,b\n1,2\n", "got a, b"),
        (HEAD, "its 0 readings do not determine"),
        (HEAD + "0,1,0,0.001,0\n", "1 readings do not determine all 2 branches"),
        (HEAD + "0,1,1,0.001,0\n1,1,1,0.001,0\n", "do not determine all 2"),
        (HEAD + "1,1,0,0.001,0\n", "row 2 must be reading 0.*got 1,1,0"),
        (HEAD + "0,2,0,0.001,0\n", "row 2 must be .*got 0,2,0"),
        (HEAD + "0,1,0,0.001\n", "row 2 must be .*got 0,1,0,0.001"),
        (HEAD + GOOD + "2,0,0,0.002,0\n", "rows differ in meter_relative or meter_siemens"),
        (HEAD + GOOD.replace("0.001", "x"), "must be numbers >= 0.*'x'"),
        (HEAD + GOOD.replace("0.001", "-1"), "must be numbers >= 0.*got -1"),
        (HEAD + GOOD.replace("0.001", "nan"), "must be numbers >= 0.*got nan"),
    ],
)
def test_bad_plans(tmp_path, text, message):
    (tmp_path / "plan.csv").write_text(text)
    with pytest.raises(PlanError, match=message):
        read_plan(tmp_path / "plan.csv", 2)


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(PlanError, match=r"none.csv cannot be read"):
        read_plan(tmp_path / "none.csv", 2)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match=r"bytes.csv cannot be read"):
        read_plan(tmp_path / "bytes.csv", 2)
