"""Turn an ONNX file into a torch module whose weight layers can be pruned and extracted."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tinynets.files.checks import said_of
from tinynets.formats.onnx.graph import Graph, Node, Shape, read_graph, to_tensor
from tinynets.formats.onnx.layers import LAYERS, TENSORS, Operation, constant, run
from tinynets.formats.onnx.operators import FUNCTIONS, SEVERAL
from tinynets.networks.extraction import safe_name

#: (module name, input names, output names)
Step = tuple[str, tuple[str, ...], tuple[str, ...]]
#: An operation with weights, and by tensor of its module the constant that it came from.
Origin = tuple[Node, dict[str, str]]


class OnnxNetwork(nn.Module):
    """Runs modules one after the other, in the order of the file.

    It takes the inputs of the file in their order, and returns a tensor, or a tuple of several.

    origins: by module name the operation that it was made from, and the names of the constants that
    hold its tensors.
    """

    def __init__(self, graph: Graph, plan: "_Plan") -> None:
        super().__init__()
        self.shapes: Mapping[str, Shape | None] = graph.inputs
        self.integers, self.outputs = graph.integers, graph.outputs
        wanted, self.steps = set(graph.outputs), []
        for step in reversed(plan.steps):
            if wanted & set(step[2]):
                self.steps.insert(0, step)
                wanted |= set(step[1])
        self.origins = {name: plan.origins[name] for name, *_ in self.steps if name in plan.origins}
        for name, *_ in self.steps:
            self.add_module(name, plan.modules[name])
        fixed = sorted(wanted & set(plan.constants))
        self.buffer_of = {name: f"constant_{k}" for k, name in enumerate(fixed)}
        for name, buffer in self.buffer_of.items():
            value = plan.constants[name].clone()
            # Places, shapes and masks of attention are no weights to save.
            kept = value.is_floating_point() and bool(value.isfinite().all())
            self.register_buffer(buffer, value, persistent=kept)
        known = {*fixed, *graph.inputs, ""}
        for _, names, found in [*self.steps, ("", self.outputs, ())]:
            if missing := sorted({*names} - known):
                raise ValueError(f"nothing computes {missing} before operations read it")
            known |= {*found}

    def forward(self, *inputs: torch.Tensor) -> Any:
        values: dict[str, Any] = {n: self.get_buffer(b) for n, b in self.buffer_of.items()}
        given: Any = _checked(self.shapes, self.integers, inputs)
        values[""] = None
        for k, name in enumerate(self.shapes):
            values[name] = given[k]
        for module, names, outputs in self.steps:
            found = getattr(self, module)(*(values[name] for name in names))
            several = len(outputs) > 1
            values |= {n: found[k] if several else found for k, n in enumerate(outputs) if n}
        results = tuple(values[name] for name in self.outputs)
        return results[0] if len(self.outputs) == 1 else results


@torch.fx.wrap
def _checked(
    shapes: Mapping[str, Shape | None], integers: Iterable[str], inputs: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """Return the inputs; ValueError for other than the file declares."""
    if len(inputs) != len(shapes):
        raise ValueError(f"expected the inputs {list(shapes)}; got {len(inputs)} tensors")
    for (name, shape), x in zip(shapes.items(), inputs):
        whole = not x.is_floating_point()
        if shape is not None and whole != (name in integers):
            kind = "whole" if name in integers else "floating-point"
            raise ValueError(f"input {name!r} takes {kind} numbers; got {x.dtype}")
        fits = shape is None or (
            len(shape) == x.ndim and all(n in (None, m) for n, m in zip(shape, x.shape))
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape or ())
            raise ValueError(f"input {name!r} takes shape ({wanted}); got {tuple(x.shape)}")
    return inputs


class Choice(nn.Module):
    """Runs one of two networks, as an input says."""

    def __init__(self, yes: nn.Module, no: nn.Module) -> None:
        super().__init__()
        self.yes, self.no = yes, no

    def forward(self, condition: torch.Tensor, *x: torch.Tensor) -> Any:
        return (self.yes if condition.item() else self.no)(*x)


def from_onnx(
    path: str | Path,
    *,
    outputs: tuple[str, ...] = (),
    fixed: Mapping[str, Any] | None = None,
) -> OnnxNetwork:
    """Return the network of an ONNX file as a torch module in evaluation mode.

    outputs: names of the values to return, of outputs or of any operation; all outputs by default.
    fixed: values of inputs that stay the same, by name; they are no inputs of the module then, and
        what follows from them alone is computed once.

    Gemm and MatMul by a constant matrix become Linear, convolutions become Conv1d … Conv3d or
    ConvTranspose, all named after their weights. All else is digital. A file of one input that was
    exported for one size of batch takes any, if its operations treat each sample alone.

    Raises ValueError naming all operations that are not known, or one that is not in a form that
    is, or for a damaged file; ImportError without onnx.
    """
    try:
        with said_of(path):
            return _for_any_batch(_chosen(read_graph(path), outputs, fixed or {}))
    except (ValueError, ImportError, FileNotFoundError):
        raise
    except Exception as error:
        # What a graph may hold is not to be foreseen; nothing in it is executed.
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _chosen(graph: Graph, outputs: tuple[str, ...], fixed: Mapping[str, Any]) -> Graph:
    """Return the graph with other outputs, and with inputs that have become constants."""
    if unknown := [name for name in fixed if name not in graph.inputs]:
        raise ValueError(f"fixed names {unknown}; the inputs are {list(graph.inputs)}")
    made = {name for node in graph.nodes for name in node.outputs}
    if unknown := [name for name in outputs if name not in made]:
        raise ValueError(f"outputs names {unknown}; the outputs are {list(graph.outputs)}")
    given = {name: to_tensor(value) for name, value in fixed.items()}
    return replace(
        graph,
        outputs=outputs or graph.outputs,
        inputs={n: s for n, s in graph.inputs.items() if n not in given},
        constants=graph.constants | given,
    )


def _for_any_batch(graph: Graph) -> OnnxNetwork:
    """Return the network of a graph, for batches of any size if it treats each sample alone.

    Exporters write the size of their example's batch into Reshape.
    """
    shape = next(iter(graph.inputs.values()), None)
    if len(graph.inputs) != 1 or (shape is not None and (not shape or shape[0] is None)):
        return _network(graph)
    network = _network(graph, batch=shape[0] if shape else 1)
    if shape is None:
        return network
    network.shapes = dict.fromkeys(graph.inputs, (None, *shape[1:]))
    return network if _treats_samples_alone(network, shape) else _network(graph)


def _treats_samples_alone(network: OnnxNetwork, shape: Shape) -> bool:
    """Tell whether a batch of twice the size gives what its halves give, on random inputs."""
    sizes = [size for size in shape if size is not None]
    if len(sizes) < len(shape):
        return False
    x = torch.rand((2, *sizes), generator=torch.Generator().manual_seed(0))
    x = (x > 0.5).long() if network.integers else x
    with torch.no_grad():
        halves = [_as_tuple(network(half)) for half in x]
        try:
            whole = _as_tuple(network(x.flatten(0, 1)))
        except (ValueError, RuntimeError, IndexError):
            return False
    return all(_agrees(found, torch.stack(parts)) for found, *parts in zip(whole, *halves))


def _as_tuple(found: Any) -> tuple[torch.Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


def _agrees(found: torch.Tensor, parts: torch.Tensor) -> bool:
    if parts.ndim < 2 or found.shape != (2 * parts.shape[1], *parts.shape[2:]):
        return False
    gap = (found - parts.flatten(0, 1)).abs().max()
    return bool(gap <= 1e-4 * parts.abs().max())


def _network(graph: Graph, batch: int | None = None) -> OnnxNetwork:
    """Return the network of a graph; batch: what the file was exported for, None to obey it."""
    plan = _Plan(graph, batch)
    plan.check()
    return OnnxNetwork(graph, plan).eval()


class _Plan:
    """The modules by name, the steps in which they run, and where their tensors are from.

    Operations on constants alone are computed at once. constants: those of the file and these.
    """

    def __init__(self, graph: Graph, batch: int | None) -> None:
        self.batch = batch
        self.declared = any(shape is not None for shape in graph.inputs.values())
        self.constants = dict(graph.constants)
        self.modules: dict[str, nn.Module] = {}
        self.steps: list[Step] = []
        self.origins: dict[str, Origin] = {}
        self.unknown: Counter[str] = Counter()
        self.refused: list[ValueError] = []
        self.same: dict[str, str] = {}  # by the name of a constant, that of what it repeats
        self.uses: Counter[str] = Counter()
        self.made = set(graph.inputs)
        self._add_all(graph)

    def check(self) -> None:
        """Raise ValueError naming all operations that are not known, or the first refused one."""
        if self.unknown:
            counts = ", ".join(f"{kind} ({n})" for kind, n in sorted(self.unknown.items()))
            raise ValueError(
                f"ONNX operations that are not known: {counts}; build the network as a torch "
                "module, load its weights and extract that"
            )
        if self.refused:
            raise self.refused[0]

    def _add_all(self, graph: Graph) -> None:
        nodes = _needed(graph.nodes, graph.outputs)
        self.uses.update(graph.outputs)
        for node in nodes:
            self.uses.update(node.inputs)
            self.uses.update(name for branch in node.branches.values() for name in branch.reads)
        for node in nodes:
            try:
                self._add(node)
            except ValueError as error:
                self.refused.append(error)
            self.made.update(node.outputs)

    def _add(self, node: Node) -> None:
        n = max((k for k, name in enumerate(node.outputs, 1) if self.uses[name]), default=1)
        node = replace(node, outputs=node.outputs[:n])
        if node.kind == "Constant":
            self.constants[node.outputs[0]] = to_tensor(next(iter(node.attributes.values())))
        elif node.kind == "If":
            self._add_choice(node)
        elif node.kind not in {*FUNCTIONS, *LAYERS}:
            self.unknown[node.kind] += 1
        elif not self._compute(node) and not self._add_bias(node):
            self._add_modules(self._for_any_batch(node))

    def _compute(self, node: Node) -> bool:
        """Compute an operation on constants alone; tell whether it is one."""
        names = [name for name in node.inputs if name]
        if node.kind not in FUNCTIONS or not names or not set(names) <= set(self.constants):
            return False
        found = run(node, *(self.constants.get(name) for name in node.inputs))
        values = found if isinstance(found, tuple) else (found,)
        self.constants |= dict(zip(node.outputs, values))
        if node.kind == "Identity":
            self.same[node.outputs[0]] = self.same.get(names[0], names[0])
        return True

    def _add_bias(self, node: Node) -> bool:
        """Make an Add the bias of the product before it, which nothing else reads, if it is one."""
        if node.kind != "Add" or len(set(node.inputs) & set(self.constants)) != 1:
            return False
        (name,) = set(node.inputs) & set(self.constants)
        (before,) = set(node.inputs) - {name}
        place = next((k for k, (*_, made) in enumerate(self.steps) if made == (before,)), None)
        if place is None or self.uses[before] != 1:
            return False
        module, names, _ = self.steps[place]
        layer, bias = self.modules[module], self.constants[name]
        free = isinstance(layer, nn.Linear) and layer.bias is None
        if not free or bias.ndim > 2 or bias.shape[-1:].numel() != bias.numel():
            return False
        if bias.numel() != layer.out_features:
            return False
        layer.bias = nn.Parameter(bias.reshape(-1).clone())
        self.origins[module][1]["bias"] = self.same.get(name, name)
        self.steps[place] = module, names, node.outputs
        return True

    def _for_any_batch(self, node: Node) -> Node:
        """Return a Reshape whose shape no longer says how many samples there are."""
        shape = constant(node, 1, self.constants) if node.kind == "Reshape" else None
        if shape is None or self.batch is None or not shape.numel() or 0 in shape.tolist():
            return node
        first, *rest = shape.tolist()
        if first == self.batch and -1 in rest:
            first = 0
        elif first == self.batch or (self.declared and -1 not in rest):
            first = -1
        name = f"{node.inputs[1]} of {node.name}"
        self.constants[name] = torch.tensor([first, *rest])
        return replace(node, inputs=(node.inputs[0], name), attributes={})

    def _add_modules(self, node: Node) -> None:
        chain = LAYERS[node.kind](node, self.constants) if node.kind in LAYERS else None
        if chain is None and len(node.outputs) > 1 and node.kind not in SEVERAL:
            raise node.refuse(f"what it returns besides {node.outputs[0]!r}")
        modules, inputs = chain or ([Operation(node)], node.inputs)
        node = replace(node, inputs=tuple(self.same.get(name, name) for name in node.inputs))
        tensors = _sources(node, self.constants)
        for k, module in enumerate(modules):
            own = {t: c for t, c in tensors.items() if getattr(module, t, None) is not None}
            name = self._free_name(_module_name(node, own))
            self.modules[name] = module
            if own:
                self.origins[name] = node, own
            last = k == len(modules) - 1
            outputs = node.outputs if last else (f"{node.outputs[0]} of {name}",)
            self.steps.append((name, inputs, outputs))
            inputs = outputs

    def _add_choice(self, node: Node) -> None:
        """Add the branch that a constant condition chooses, or both as networks of their own."""
        branches = node.branches["then_branch"], node.branches["else_branch"]
        (condition,) = node.inputs
        if condition in self.constants:
            branch = branches[0 if self.constants[condition].item() else 1]
            names = {*branch.constants, *(name for n in branch.nodes for name in n.outputs)}
            taken = names & {*self.constants, *self.made}
            branch = branch.renamed({name: f"{node.name}/{name}" for name in taken})
            self.constants |= branch.constants
            self._add_all(branch)
            for inner, outer in zip(branch.outputs, node.outputs):
                self._add(node.alike("Identity", (inner,), outer))
            return
        reads = sorted({name for branch in branches for name in branch.reads})
        inputs = [name for name in reads if name not in self.constants]
        outer = {name: self.constants[name] for name in reads if name in self.constants}
        graphs = [
            replace(b, inputs=dict.fromkeys(inputs), constants=b.constants | outer)
            for b in branches
        ]
        plans = [_Plan(graph, None) for graph in graphs]
        for plan in plans:
            self.unknown += plan.unknown
            self.refused += plan.refused
        if self.unknown or self.refused:
            return
        yes, no = (OnnxNetwork(graph, plan) for graph, plan in zip(graphs, plans))
        name = self._free_name(safe_name(f"if_{node.name}"))
        self.modules[name] = Choice(yes, no)
        self.steps.append((name, (condition, *inputs), node.outputs))

    def _free_name(self, name: str) -> str:
        """Return a name that neither a module nor anything else of the network has."""
        tries = [name, *(f"{name}_{k}" for k in range(2, len(self.modules) + 3))]
        return next(t for t in tries if t not in self.modules and not _is_taken(t))


def _needed(nodes: Iterable[Node], outputs: Iterable[str]) -> list[Node]:
    """Return the operations that the outputs depend on, in their order."""
    wanted, needed = set(outputs), []
    for node in reversed(list(nodes)):
        if wanted & set(node.outputs):
            needed.append(node)
            wanted |= node.reads
    return needed[::-1]


def _sources(node: Node, constants: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the names of the constants by the tensors that an operation's module makes of them."""
    if node.kind == "MatMul" and node.inputs[1] not in constants:
        return {"weight": node.inputs[0]}
    pairs = zip(TENSORS.get(node.kind, ()), node.inputs[1:])
    return {tensor: name for tensor, name in pairs if name}


def _module_name(node: Node, tensors: Mapping[str, str]) -> str:
    if "weight" in tensors:
        return safe_name(tensors["weight"].removesuffix(".weight"))
    return safe_name(f"{node.kind.lower()}_{node.name}")


def _is_taken(name: str) -> bool:
    own = {*dir(nn.Module()), "steps", "shapes", "integers", "outputs", "origins", "buffer_of"}
    return name in own or re.fullmatch(r"constant_\d+", name) is not None
