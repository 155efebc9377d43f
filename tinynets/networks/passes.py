"""A pass through a network: its inputs, and what its modules see of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from tinynets.data.samples import no_batch

#: Tensors that share their first dimension, the batch: one, or those of the positional arguments,
#: or those of the keyword arguments of a pass.
Inputs = torch.Tensor | tuple[torch.Tensor, ...] | list[torch.Tensor] | Mapping[str, torch.Tensor]


def tensors(inputs: Inputs) -> list[torch.Tensor]:
    """Return the tensors of inputs in their order."""
    if isinstance(inputs, torch.Tensor):
        return [inputs]
    return list(inputs.values() if isinstance(inputs, Mapping) else inputs)


def check_inputs(inputs: Any, what: str = "inputs") -> None:
    """Raise ValueError unless a network can run on these inputs.

    They must be one tensor, or a tuple or mapping of tensors, with at least one sample and as many
    samples in each tensor. Integers (tokens) and, beside other tensors, booleans (masks) are fine.
    """
    if not isinstance(inputs, torch.Tensor | tuple | list | Mapping):
        raise ValueError(
            f"{what} must be a tensor, or a tuple or mapping of tensors; got "
            f"{type(inputs).__name__}; use torch.from_numpy"
        )
    parts = tensors(inputs)
    if not parts or not all(isinstance(part, torch.Tensor) for part in parts):
        kinds = ", ".join(type(part).__name__ for part in parts[:4]) or "nothing"
        raise ValueError(f"{what} must be tensors; got {kinds}; use torch.from_numpy")
    if any(part.ndim == 0 or not len(part) for part in parts):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise ValueError(f"{what} must be at least one; got shape {shapes}")
    if len({len(part) for part in parts}) > 1:
        names = inputs if isinstance(inputs, Mapping) else map(str, range(len(parts)))
        raise ValueError(no_batch(what, {n: tuple(p.shape) for n, p in zip(names, parts)}))
    if any(part.is_complex() for part in parts) or parts[0].dtype == torch.bool:
        raise ValueError(
            f"{what} must be real numbers; got {', '.join(str(part.dtype) for part in parts)}"
        )


def call(model: nn.Module, inputs: Inputs) -> Any:
    """Return what a model gives for inputs; raise ValueError for inputs that it does not take."""
    named = dict(inputs) if isinstance(inputs, Mapping) else {}
    if named and (order := getattr(model, "shapes", None)):  # an ONNX network's inputs, in order
        if set(order) != set(named):
            raise ValueError(f"the network has inputs {list(order)}; got {list(named)}")
        named, inputs = {}, tuple(named[name] for name in order)
    try:
        return model(**named) if named else model(*tensors(inputs))
    except (RuntimeError, TypeError, IndexError) as error:
        kinds = ", ".join(f"{tuple(x.shape)} of {x.dtype}" for x in tensors(inputs))
        raise ValueError(
            f"the model cannot run on inputs of shape {kinds}: {str(error).splitlines()[0]}"
        ) from error


def part(inputs: Inputs, start: int, stop: int | None = None) -> Inputs:
    """Return the samples start … stop - 1 of inputs."""
    return chosen(inputs, slice(start, stop))


def chosen(inputs: Inputs, rows: slice | torch.Tensor) -> Inputs:
    """Return some samples of inputs."""
    if isinstance(inputs, torch.Tensor):
        return inputs[rows]
    if isinstance(inputs, Mapping):
        return {name: tensor[rows] for name, tensor in inputs.items()}
    return tuple(tensor[rows] for tensor in inputs)


def split(inputs: Inputs, size: int) -> Iterator[Inputs]:
    """Yield inputs in batches of at most `size` samples."""
    for start in range(0, len(tensors(inputs)[0]), size):
        yield part(inputs, start, start + size)


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode; restore the mode of each module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
    except NotImplementedError as error:
        raise ValueError(
            "the model is an exported program; pass the nn.Module that it was made from"
        ) from error
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def watching(modules: Mapping[str, nn.Module], see: Callable[..., None]) -> Iterator[None]:
    """Call `see(path, module, input, output)` after each pass through one of the modules.

    The input is the first argument, by position or by keyword. Raises ValueError if a hook of the
    module has changed it, since the module alone would then give something else.
    """
    given: dict[str, torch.Tensor] = {}

    def before(path: str, _module: nn.Module, args: tuple, kwargs: dict) -> None:
        given[path] = _first(args, kwargs)

    def after(path: str, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        x, original = _first(args, kwargs), given.pop(path)
        if x is not original and not torch.equal(x, original):
            raise ValueError(
                f"a forward pre-hook of module {path!r} changes its input; remove the hook, or "
                f"pass leave_digital=({path!r},)"
            )
        see(path, module, x, output)

    handles = []
    for path, module in modules.items():
        first = partial(before, path)
        handles.append(module.register_forward_pre_hook(first, prepend=True, with_kwargs=True))
        handles.append(module.register_forward_hook(partial(after, path), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first(args: tuple, kwargs: dict) -> torch.Tensor:
    return args[0] if args else next(iter(kwargs.values()))


@contextmanager
def without_fused_passes() -> Iterator[None]:
    """Let attention and recurrent layers run step by step, so that each product is seen."""
    backends: Any = torch.backends
    before = backends.mha.get_fastpath_enabled(), backends.mkldnn.enabled
    backends.mha.set_fastpath_enabled(False)
    backends.mkldnn.enabled = False
    try:
        yield
    finally:
        backends.mha.set_fastpath_enabled(before[0])
        backends.mkldnn.enabled = before[1]


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Let a GPU's convolutions compute with all bits of float32; torch's default leaves out 13."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before
