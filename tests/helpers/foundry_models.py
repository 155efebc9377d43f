"""Models of foundries in tests: those of this machine, or the test is skipped."""

import pytest

from netlists.foundry.models import Models, ModelsMissing, find_models
from netlists.foundry.rule_files import RuleFiles, find_rules

SKY130 = {"technology": "sky130", "resistor": "high_po"}
IHP = {"technology": "ihp-sg13g2", "resistor": "rhigh"}


def models_of(technology: str) -> Models:
    """Return the models of a process, or skip the test."""
    try:
        return find_models(technology)
    except ModelsMissing as error:
        pytest.skip(str(error))


def rules_of(technology: str) -> RuleFiles:
    """Return the design rules of a process, or skip the test."""
    try:
        return find_rules(technology)
    except ModelsMissing as error:
        pytest.skip(str(error))
