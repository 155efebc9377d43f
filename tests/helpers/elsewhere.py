"""A second device that every machine has: computed by the CPU, and strict like a GPU.

Its tensors say that they are on the device "meta", so that code takes the way of any device but the
CPU. Like a GPU's, they cannot be turned into NumPy arrays and never meet tensors of the CPU in one
operation, single numbers and indices apart; unlike torch's own meta tensors, they hold numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
#: Marks of what needs a GPU.
GPU = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]


class Elsewhere(torch.Tensor):
    """A tensor of the second device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        """Put a tensor of the CPU there."""
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=held.requires_grad,
        )
        made.held = held.detach()
        return made

    def __repr__(self, **_options: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"Elsewhere({self.held})"

    def tolist(self) -> Any:
        """Return the numbers; torch reads them from memory, which these tensors do not have."""
        return self.held.tolist()

    def numpy(self, **_options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Refuse, as a tensor of a GPU does."""
        raise TypeError("can't convert a tensor of another device to numpy")

    @classmethod
    def __torch_dispatch__(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute on the CPU what is all here."""
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        target = kwargs.get("device")
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        if name not in ("where", "_to_copy", "copy_", "index", "index_put_", "index_put"):
            _check(name, (args, kwargs))
        if name == "where" and args[2].is_meta and not isinstance(args[2], Elsewhere):
            # The derivative of a clamp fills up with a zero that torch makes without a value.
            args = (*args[:2], args[1].held.new_zeros(()))
        inside = tree_map(_held, (args, kwargs))
        out = func(*inside[0], **inside[1])
        if target is not None and torch.device(target) != DEVICE:
            return out
        if name == "copy_" and not isinstance(args[0], Elsewhere):
            return args[0]
        if name.endswith("_") and not name.startswith("_") and isinstance(args[0], Elsewhere):
            return args[0]
        return tree_map(_wrapped, out)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Elsewhere) else x


def _wrapped(x: Any) -> Any:
    plain = isinstance(x, torch.Tensor) and not isinstance(x, Elsewhere)
    return Elsewhere(x) if plain else x


def _check(name: str, given: Any) -> None:
    """Raise RuntimeError if tensors of the CPU, single numbers apart, are among those given."""
    for x in tree_leaves(given):
        if isinstance(x, torch.Tensor) and not isinstance(x, Elsewhere) and x.ndim:
            raise RuntimeError(f"{name}: expected all tensors on one device; got {DEVICE} and cpu")


class _Factories(TorchFunctionMode):
    """Make tensors of the second device where one is asked for by name."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "__setitem__" and not isinstance(args[2], torch.Tensor):
            args = (*args[:2], torch.tensor(args[2]))  # torch would make a number without a value
        if name == "where" and any(isinstance(x, Elsewhere) for x in args):
            kind = next(x.dtype for x in args[1:] if isinstance(x, torch.Tensor))
            args = [x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=kind) for x in args]
        asked = [x for x in (*args[1:], kwargs.get("device")) if x in (DEVICE, "meta")]
        if not asked or name == "__get__":
            return func(*args, **kwargs)
        if name == "to" and isinstance(args[0], Elsewhere):
            rest = [x for x in args[1:] if x not in (DEVICE, "meta")]
            kwargs.pop("device", None)
            return func(args[0], *rest, **kwargs) if rest or kwargs else args[0]
        args = [torch.device("cpu") if x in (DEVICE, "meta") else x for x in args]
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        made = func(*args, **kwargs)
        return _moved(made) if name == "to" else tree_map(_wrapped, made)


def _moved(x: torch.Tensor) -> torch.Tensor:
    return Elsewhere(x.detach().clone())


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Let the second device be asked for by its name; yield it."""
    with _Factories():
        yield DEVICE


@contextmanager
def device_named(kind: str) -> Iterator[torch.device]:
    """Yield the second device for "elsewhere", and otherwise the one that torch knows by a name."""
    if kind != "elsewhere":
        yield torch.device(kind)
        return
    with elsewhere() as other:
        yield other
