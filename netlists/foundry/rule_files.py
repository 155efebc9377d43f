"""Read a process's layers and values of design rules from files of its foundry on this machine."""

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from netlists.foundry.models import ModelsMissing, cache_folder
from netlists.foundry.technologies import technology

#: A layer of KLayout's list of layers: its name and its numbers.
_LAYER = re.compile(r"<name>([\w.]+)</name>\s*<source>(\d+)/(\d+)@1</source>")


@dataclass(frozen=True)
class RuleFiles:
    """What a foundry's files say of its layouts.

    rules: values of the design rules, by the foundry's names [um].
    layers: GDS layer and datatype, by name, such as "Activdrawing".
    folder: where the file of rules lies.
    """

    rules: Mapping[str, float]
    layers: Mapping[str, tuple[int, int]]
    folder: Path


def find_rules(name: str) -> RuleFiles:
    """Return the rules of a process, of PDK_ROOT before those of the cache.

    Raises ValueError for a process that does not exist, one whose rules are in no file here, and a
    file that is damaged; ModelsMissing, with what to do, where there are none.
    """
    process = technology(name)
    if not process.rules:
        raise ValueError(f"the rules of {name} are in no file of its models")
    roots = [Path(root) for root in (os.environ.get("PDK_ROOT"), cache_folder()) if root]
    for root in roots:
        for rules, layers in process.rules:
            if (root / rules).is_file() and (root / layers).is_file():
                return _read(root / rules, root / layers)
    looked = " or ".join(str(root) for root in roots)
    raise ModelsMissing(
        f"the design rules of {name} are not in {looked}; `scripts/foundry.sh {name}` fetches "
        f"{process.package} into the cache, or set PDK_ROOT to a folder that holds "
        f"{process.rules[0][0]}"
    )


@functools.lru_cache(maxsize=8)
def _read(rules: Path, layers: Path) -> RuleFiles:
    try:
        content = json.loads(rules.read_bytes())["drc_rules"]
        values = {k: float(v) for k, v in content.items() if isinstance(v, int | float)}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{rules}: expected the foundry's values in a table 'drc_rules'; got {error!r}; fetch "
            "it again"
        ) from error
    found = _LAYER.findall(layers.read_text(encoding="utf-8", errors="replace"))
    if not found:
        raise ValueError(f"{layers}: expected KLayout's list of layers; got none; fetch it again")
    # The packages differ in whether there is a full stop in "Activ.drawing".
    numbers = {name.replace(".", ""): (int(a), int(b)) for name, a, b in found}
    return RuleFiles(values, numbers, rules.parent)
