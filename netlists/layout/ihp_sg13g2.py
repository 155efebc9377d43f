"""IHP SG13G2 as a technology of layouts: its layers and rule values are read from its own files.

Only names stand here: which layer and which rule of the process takes which part in the drawing.
A resistor's contacts lead to Metal1 without local interconnect, so that every metal is one higher
than in SKY130: "li1" is Metal1, "met1" Metal2, "met2" Metal3, and "met3" Metal4.

Source: the parts of a resistor are those of the foundry's own cells in the package ihp-gdsfactory.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from netlists.circuit.wire_geometry import Film
from netlists.foundry.rule_files import RuleFiles
from netlists.layout.technology import Kind, Rule, Technology, Transistor, on_grid

#: The process's layer for each part in the drawing.
_LAYERS = {
    "diff": "Activdrawing",
    "poly": "GatPolydrawing",
    "poly_res": "PolyResdrawing",
    "heat": "HeatResdrawing",
    "res": "RESdrawing",
    "psd": "pSDdrawing",
    "nsd": "nSDdrawing",
    "extblock": "EXTBlockdrawing",
    "salblock": "SalBlockdrawing",
    "licon": "Contdrawing",
    "li1": "Metal1drawing",
    "names": "TEXTdrawing",
    "mcon": "Via1drawing",
    "met1": "Metal2drawing",
    "via": "Via2drawing",
    "met2": "Metal3drawing",
    "via2": "Via3drawing",
    "met3": "Metal4drawing",
    "met3_text": "Metal4text",
    "pad": "Passivdrawing",
}


@dataclass(frozen=True)
class _Resistor:
    """How the process draws a resistor, by names of layers and rules.

    over: layers over the whole strip, the first of them that which makes it the film.
    body: layers of its body.
    block: layer that keeps silicide from the body; empty for a silicided one.
    width: rule of the least width of its body, and of the least length.
    around: rule of how far the layers over it reach beyond.
    apart: rule of the distance of its contacts from the body.
    """

    over: tuple[str, ...]
    body: tuple[str, ...]
    block: str
    width: str
    around: str
    apart: str


_RESISTORS = {
    "rhigh": _Resistor(
        ("psd", "nsd", "extblock"), ("poly_res", "heat"), "salblock", "Rhi_a", "Rhi_c", "Rhi_d"
    ),
    "rppd": _Resistor(
        ("psd", "extblock"), ("poly_res", "heat"), "salblock", "Rppd_a", "Rppd_b", "Rppd_c"
    ),
    "rsil": _Resistor(("extblock",), ("poly_res", "heat", "res"), "", "Rsil_a", "Rsil_e", "Rsil_b"),
}

#: Part, rule of its least width, rule of its least space. Where wide lines need more space, the
#: larger rule is used for all.
_LINES = (
    ("diff", "Act_a", "Act_b"),
    ("poly", "Gat_a", "Gat_b"),
    ("extblock", "EXTB_a", "EXTB_b"),
    ("li1", "M1_a", "M1_e"),
    ("met1", "Mn_a", "Mn_e"),
    ("met2", "Mn_a", "Mn_e"),
    ("met3", "Mn_a", "Mn_f"),
    ("pad", "Pas_a", "Pas_b"),
)
#: Cut, rule of its side, rule of its space, the larger one of dense fields.
_CUTS = (
    ("square licon", "Cnt_a", "Cnt_b1"),
    ("mcon", "V1_a", "V1_b1"),
    ("via", "Vn_a", "Vn_b1"),
    ("via2", "Vn_a", "Vn_b1"),
)
#: Inner part, outer part, rule. Where a rule asks more of two sides, it is used on all four.
_ENCLOSURES = (
    ("poly licon", "poly", "CntB_d"),
    ("diff licon", "diff", "Cnt_c"),
    ("licon", "li1", "CntB_h1"),
    ("mcon", "li1", "V1_c1"),
    ("mcon", "met1", "Vn_c1"),
    ("via", "met1", "Vn_c1"),
    ("via", "met2", "Vn_c1"),
    ("via2", "met2", "Vn_c1"),
    ("via2", "met3", "Vn_c1"),
    ("pad", "met3", "Pas_c"),
)
#: Part, part that it keeps away from, rule.
_SEPARATIONS = (
    ("resistor", "diff", "Gat_d"),
    ("diff licon", "gate", "Cnt_f"),
    ("poly licon", "diff", "Cnt_e"),
    ("slot licon", "square licon", "CntB_b2"),
)
_AREAS = (("li1", "M1_d"), ("met1", "Mn_d"), ("met2", "Mn_d"), ("met3", "Mn_d"))


def ihp_technology(files: RuleFiles, resistor: str, width: float, r_sheet: float) -> Technology:
    """Return the process with a resistor of a width [m].

    files: the foundry's own.
    r_sheet: of the film [ohm per drawn square].

    Raises ValueError for a layer or a rule that the files do not have.
    """
    drawn, value = _RESISTORS[resistor], _Values(files.rules)
    contact = (value["CntB_a"], width - 2 * value["CntB_d"])
    around, gap = value[drawn.around], value[drawn.apart]
    spaces = [value["Gat_b"], value["M1_e"], 2 * around]
    if drawn.block:
        # The blocks of neighbours meet, so that neither reaches the other's ends.
        spaces.append(value["Sal_c"] + value["Sal_d"])
    end = gap + contact[0] + value["CntB_d"]
    return Technology(
        f"ihp-sg13g2_{resistor}",
        _layers(files),
        tuple(_rules(value, drawn, contact)),
        drawn.over[0],
        Film(r_sheet, width, max(spaces), end),
        0.0,
        transistor=_transistor(value),
        covers=drawn.over[1:],
        body=drawn.body,
        block=drawn.block,
        gap=gap,
        slots_across=True,
        metals={},
    )


class _Values:
    """Values of rules [m], with an error that names a missing one."""

    def __init__(self, rules: Mapping[str, float]) -> None:
        self._rules = rules

    def __getitem__(self, name: str) -> float:
        if name not in self._rules:
            raise ValueError(
                f"the foundry's file of rules has no value of {name!r}; fetch it again"
            )
        return self._rules[name] * 1e-6


def _layers(files: RuleFiles) -> dict[str, tuple[int, int]]:
    missing = sorted(set(_LAYERS.values()) - set(files.layers))
    if missing:
        raise ValueError(f"the foundry's list of layers lacks {', '.join(missing)}; fetch it again")
    return {part: files.layers[name] for part, name in _LAYERS.items()}


def _rules(value: _Values, drawn: _Resistor, contact: tuple[float, float]) -> list[Rule]:
    """Return the rules for the parts of the drawing; contact: of a resistor, its two sides [m]."""

    def of(kind: Kind, layer: str, name: str, other: str = "") -> Rule:
        return Rule(kind, layer, value[name], name, other=other)

    rules = [of("width", "resistor", drawn.width), of("space", "resistor", "Gat_b")]
    for layer, width, space in _LINES:
        rules += [of("width", layer, width), of("space", layer, space)]
    for cut, side, space in _CUTS:
        rules.append(Rule("size", cut, value[side], side, length=value[side]))
        rules.append(of("space", cut, space))
    rules.append(Rule("size", "slot licon", contact[0], "CntB_a", length=contact[1]))
    rules.append(of("space", "slot licon", "CntB_b"))
    rules += [Rule("area", layer, value[name] * 1e-6, name) for layer, name in _AREAS]
    rules += [of("enclosure", a, name, b) for a, b, name in _ENCLOSURES]
    rules.append(Rule("enclosure", "licon", 0.0, "Cnt_c, Cnt_d", other="poly or diff"))
    rules += [of("separation", a, name, b) for a, b, name in _SEPARATIONS]
    rules += [of("enclosure", "strip", drawn.around, layer) for layer in drawn.over]
    rules.append(of("enclosure", "resistor", drawn.around, "implant"))
    return rules + _implant_rules(value, drawn)


def _implant_rules(value: _Values, drawn: _Resistor) -> list[Rule]:
    """Return the rules of the layers that only some resistors have."""

    def of(kind: Kind, layer: str, name: str, other: str = "") -> Rule:
        return Rule(kind, layer, value[name], name, other=other)

    rules = []
    if "psd" in drawn.over:
        rules += [of("width", "psd", "pSD_a"), of("space", "psd", "pSD_b")]
        rules += [of("separation", "implant", "pSD_d", "diff")]
        rules += [of("separation", "implant", "pSD_j", "gate")]
    if drawn.block:
        rules += [of("width", "salblock", "Sal_a"), of("space", "salblock", "Sal_b")]
        rules += [of("enclosure", "resistor", "Sal_c", "lengthened block")]
        rules.append(Rule("enclosure", "resistor", 0.0, drawn.apart, other="salblock"))
        rules += [of("separation", "salblock", "Sal_d", "diff")]
        rules += [of("separation", "licon", drawn.apart, "salblock")]
    else:
        # A transistor needs the extensions that this layer blocks.
        rules.append(Rule("separation", "implant", value["EXTB_c"], "EXTB_c", other="diff"))
        rules.append(of("separation", "licon", drawn.apart, "resistor"))
    return rules


def _transistor(value: _Values) -> Transistor:
    """Return an n-channel transistor as short as the process allows."""
    cut, via, length = value["Cnt_a"], value["V1_a"], value["Gat_a1"]
    # Metal1 about a contact also holds a via, and has its least area.
    over_via = via / 2 + value["Vn_c1"]
    pad = max(cut / 2 + value["CntB_h1"], over_via, math.sqrt(value["M1_d"] * 1e-6) / 2)
    contact = max(
        length / 2 + value["Cnt_f"] + cut / 2,
        pad + value["M1_e"] / 2,
        over_via + value["Mn_e"] / 2,
    )
    contact, pad = on_grid(contact), on_grid(pad)
    half = on_grid(contact + cut / 2 + value["Cnt_c"])
    return Transistor(length, length, value["Gat_c"], contact, half, pad)
