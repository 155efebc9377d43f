"""The bank of a configuration that names a foundry's devices."""

from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from netlists.foundry.branch import FoundryBranch
from tinynets.settings import said

#: Keys of [bank] that the foundry's models give.
OWN = ("n", "ladder", "sigma_local", "r_on", "sigma_on", "r_off")
#: Keys of [bank] that say the same in another way, or act twice.
NOT_WITH = ("r_min", "ratio", "tc1", "tc2", "tc1_sigma", "temperature")


def with_foundry(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a raw configuration with the bank of its table [foundry], if it has one.

    A bank that states all of OWN is of a configuration that was made before, and is left alone.

    Raises ValueError for devices that do not exist, models that are not there, and keys of [bank]
    that the models give.
    """
    bank = raw.get("bank") or {}
    if raw.get("foundry") is None or not isinstance(bank, dict) or not set(OWN) - set(bank):
        return raw
    given = [key for key in (*OWN, *NOT_WITH) if key in bank]
    if given:
        raise ValueError(
            f"bank.{given[0]} follows from [foundry]; leave out {', '.join(given)} of [bank]"
        )
    from crossbar_sim.foundry.bank import foundry_bank
    from crossbar_sim.foundry.measured import measured

    branch = _branch(raw["foundry"])
    made = asdict(foundry_bank(measured(branch)))
    return raw | {"foundry": branch, "bank": bank | {key: made[key] for key in OWN}}


def without_foundry(bank: dict[str, Any]) -> dict[str, Any]:
    """Return [bank] without what its foundry's models give, so that it is made anew."""
    return {key: value for key, value in bank.items() if key not in (*OWN, *NOT_WITH)}


def _branch(raw: Any) -> FoundryBranch:
    try:
        return TypeAdapter(FoundryBranch).validate_python(raw)
    except ValidationError as error:
        problems = error.errors()
        places = (".".join(map(str, problem["loc"])) for problem in problems)
        told = [f"foundry{place and '.' + place}: {said(p)}" for place, p in zip(places, problems)]
        raise ValueError("; ".join(told)) from None
