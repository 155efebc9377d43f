"""What a study's page says first: of made-up trials whose answer is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_studies import accuracies, made_study, validated

from crossbar_sim.study_report.found import Found
from crossbar_sim.study_report.sentences import chart_text, chart_title, headline, verdict

GRID = {"bank.n": [1, 2, 3, 4]}


def said(found: Found) -> dict[str, str]:
    return {statement["title"]: statement["text"] for statement in headline(found)}


def of(root: Path, *made: Any, metrics: tuple[str, ...] = ("accuracy",), **keys: Any) -> Found:
    return Found(made_study(root, *made, **keys), metrics)


def test_a_study_is_summed_up(found):
    texts = said(found)
    assert list(texts) == [
        "What was asked",
        "The best points",
        "What it costs",
        "What limits the statement",
    ]
    assert texts["What was asked"] == (
        "How do test accuracy, the MVM error and energy of an inference depend on branches per "
        "bank (1, 2, 3, 4) and selection objective (error, aware)? 8 points, each on the same 6 "
        "dies, trained once: 48 trials."
    )
    assert "mean of 6 dies" in texts["The best points"]
    assert "adjusted for all 28 pairs of points (Holm)" in texts["The best points"]
    assert "the same 450 test images" in texts["What limits the statement"]
    assert "(first_die) or images (validation)" in texts["What limits the statement"]


def test_the_best_has_the_largest_mean_and_the_worst_are_shown(found):
    means = [found.mean(k, "accuracy") for k in range(8)]
    assert found.best == int(np.argmax(means))
    worse = [k for k in range(8) if found.pairs.differs(found.best, k)]
    assert {0, 1} <= set(worse), "one branch alone loses 7 points"
    text = said(found)["The best points"]
    assert text.startswith(f"Point {found.best + 1} (branches per bank: ")
    assert f"{len(worse)} of the 7 others are shown to be worse" in text
    assert verdict(found, found.best) == "best"
    assert verdict(found, 0).startswith("worse (p")
    assert set(found.equals) <= {2, 3, 4, 5, 6, 7} - {found.best}


def test_an_error_is_best_where_it_is_least(tmp_path):
    errors = of(tmp_path, grid=GRID, metrics=("mvm_error",))
    assert errors.best == 3
    text = said(errors)["The best points"]
    assert text.startswith("Point 4 (branches per bank: 4): MVM error 1.")
    assert "All 3 others are shown to be worse" in text
    assert "The nearest is point 3" in text
    assert "test images" not in said(errors)["What limits the statement"]
    assert chart_text(errors, "mvm_error").endswith("least at point 4 (branches per bank: 4).")


def test_held_out_images_choose_and_test_images_only_tell(tmp_path):
    held = of(tmp_path, validated, grid=GRID)
    texts = said(held)
    assert held.judge == "accuracy_validation"
    assert "held-out accuracy 9" in texts["The best points"]
    assert "Its test accuracy, by which nothing was chosen, is 9" in texts["The best points"]
    assert "picked by held-out images" in texts["What limits the statement"]


def test_one_die_has_no_interval_and_compares_nothing(tmp_path):
    alone = of(tmp_path, grid=GRID, dies=1)
    texts = said(alone)
    assert "With one die, no difference can be told from chance." in texts["The best points"]
    assert texts["What limits the statement"].startswith("One die: nothing is known of other dies")
    assert chart_title(alone, "accuracy") == "Test accuracy of one die"
    assert verdict(alone, 0) == "not tested"


def test_one_point_is_compared_with_none(tmp_path):
    alone = of(tmp_path)
    texts = said(alone)
    assert texts["What was asked"] == (
        "How large is test accuracy on other dies? 1 point, on the same 4 dies, trained once: "
        "4 trials."
    )
    assert texts["The best points"].startswith("Point 1: test accuracy ")
    assert "shown" not in texts["The best points"]
    assert "What it costs" not in texts


def test_failed_trials_are_counted_and_their_points_keep_their_numbers(tmp_path):
    def failing(point, rng):
        missing = point["bank.n"] == 2 or (point["bank.n"] == 3 and rng.random() < 0.4)
        return None if missing else accuracies(point, rng)

    some = of(tmp_path, failing, grid=GRID, dies=6)
    n = len(some.study.failures)
    assert 6 < n < 12
    assert said(some)["Failed trials"].startswith(f"{n} of 24 trials failed. A die")
    assert "(1, 2, 3, 4)" in said(some)["What was asked"]
    assert [some.number(k) for k in range(3)] == [1, 3, 4]
    assert chart_title(some, "accuracy") == "Test accuracy: means of up to 6 dies, 95 % intervals"


def test_a_study_without_any_result_says_so(tmp_path):
    nothing = of(tmp_path, lambda _point, _rng: None, grid=GRID)
    texts = said(nothing)
    assert list(texts) == ["What was asked", "What came"]
    assert texts["What came"].startswith("No point has a result: 16 trials failed")


def test_without_labels_the_agreement_is_judged(tmp_path):
    def unlabelled(point, rng):
        found = accuracies(point, rng)
        return found | {"agreement": found.pop("accuracy")}

    found = of(tmp_path, unlabelled, grid=GRID, metrics=("agreement",))
    assert found.judge == "agreement"
    assert ": agreement 9" in said(found)["The best points"]
    assert "change the agreement of each" in said(found)["What limits the statement"]


@pytest.mark.parametrize(("score", "best"), [("mse", 0), ("cosine", 3), ("own.py:score", None)])
def test_a_score_is_ranked_where_its_direction_is_known(tmp_path, score, best, monkeypatch):
    def scored(point, rng):
        return accuracies(point, rng) | {"score": float(point["bank.n"])}

    found = of(tmp_path, scored, grid=GRID, metrics=("score",))
    monkeypatch.setattr(Found, "score", score)
    assert found.best == best
    text = said(found)["The best points"]
    assert ("is not known" in text) == (best is None)
    assert found.front == [] or best is not None


def test_few_trainings_say_how_far_apart_points_must_be(tmp_path):
    few = of(tmp_path, grid=GRID, dies=2, trainings=2)
    text = said(few)["What limits the statement"]
    assert "of other trainings and their dies. With 2 trainings it is wide" in text
    assert "With 2 trainings and 6 pairs, a difference is shown only from about 76 of" in text
    assert "each on 2 trainings, 2 dies each" in said(few)["What was asked"]


def test_the_cheapest_of_the_equals_is_named(tmp_path):
    """Four branches are nearly as accurate as eight, for half the energy."""

    def flat(point, rng):
        found = accuracies(point, rng)
        return found | {"accuracy": found["accuracy"] + 2e-3 * (point["bank.n"] == 8)}

    found = of(tmp_path, flat, grid={"bank.n": [1, 4, 8]}, dies=6)
    assert (found.cost, found.best, found.equals, found.front) == ("energy", 2, [1], [0, 1, 2])
    text = said(found)["What it costs"]
    assert text.startswith("The best takes 40.1 nJ (energy of an inference). Of the points")
    assert "Of the points not told apart from it, point 2 (branches per bank: 4) takes" in text
    assert "Points 1, 2 and 3 are beaten by no other in both test accuracy and energy" in text


def test_a_search_says_its_aims_its_budget_and_who_chose(searched):
    texts = said(searched)
    assert texts["What was asked"] == (
        "Which settings give high held-out accuracy and low energy of an inference under a budget "
        "(resistors at most 5,000)? NSGA-II (seed 0) chose 8 points in generations of 4, of which "
        "7 differ and have a result, each on 2 trainings, 2 dies each."
    )
    assert searched.allowed == [0, 1, 3, 5, 6], "at most five branches"
    assert searched.best in searched.allowed
    assert verdict(searched, 2) == "over budget"
    assert "within the budget in both held-out accuracy" in texts["What it costs"]
    assert "picked by held-out images" in texts["What limits the statement"]


def test_a_search_with_nothing_within_its_budget(searched):
    tried = [tried.__class__(tried.summary, False, False) for tried in searched.search.tried]
    none = Found(searched.study, searched.metrics, replace_tried(searched.search, tried))
    assert said(none)["The best points"] == "No point is within the budget."
    assert (none.best, none.equals, none.front) == (None, [], [])


def replace_tried(search: Any, tried: list[Any]) -> Any:
    return search.__class__(search.config, search.aims, tried, [])
