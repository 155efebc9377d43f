"""Certificates of the selections of a mapped network, and whether one is of a given network."""

from dataclasses import fields
from typing import Any

import numpy as np

from mapping.bank import Branches
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.certificate import Claims, SelectionCertificate, claims_of

#: Largest relative difference of conductances; rounding on another processor stays below it.
_ROUNDING = 1e-9


def certify_selections(mapped: MappedNetwork) -> SelectionCertificate:
    """Return the certificate of every switch of a network.

    It is about the branches as the die's meter reads them, one by one. A choice by other
    knowledge is claimed optimal only where it is the nearest by these readings too: one aware of
    inputs or wires, one of least power, one by readings of whole banks, or one before ageing.
    """
    stated = _stated(mapped)
    branches = Branches(stated["g_closed"], stated["g_open"])
    claims = claims_of(branches, stated["closed"], stated["target"])
    return SelectionCertificate(**vars(claims), **stated)


def check_certificate(certificate: SelectionCertificate, mapped: MappedNetwork) -> None:
    """Raise ValueError unless a certificate is about this network; it may claim anything."""
    for name, expected in _stated(mapped).items():
        given = getattr(certificate, name)
        same = given.shape == expected.shape and given.dtype.kind == expected.dtype.kind
        if same and expected.dtype.kind == "f":
            same = bool((np.abs(given - expected) <= _ROUNDING * np.abs(expected)).all())
        elif same:
            same = bool((given == expected).all())
        if not same:
            raise ValueError(f"the certificate of selections has other {name} than the network")


def _stated(mapped: MappedNetwork) -> dict[str, Any]:
    """Return the fields of a network's certificate that are not claims."""
    names = {field.name for field in fields(SelectionCertificate)}
    names -= {field.name for field in fields(Claims)}
    found = {name: [] for name in names}
    for layer in mapped.layers:
        for tile in layer.tiles:
            measured = mapped.die.branches(layer.name, *tile.cells, measured=True)
            found["tiles"].append([tile.name])
            found["n_cell"].append(np.array([tile.present.sum()], np.uint32))
            found["place"].append(np.argwhere(tile.present).astype(np.uint32))
            found["g_closed"].append(measured.g_closed)
            found["g_open"].append(measured.g_open)
            found["closed"].append(np.stack(tile.chosen, axis=1).astype(np.uint32))
            found["target"].append(layer.target_of(tile)[tile.present])
    return {name: np.concatenate(parts) for name, parts in found.items()}
