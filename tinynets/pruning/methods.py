"""The methods of pruning, each written once, and the options of one; loads no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One way to choose what is removed.

    score: "module.function" of `tinynets.pruning` that ranks single weights; None for whole groups.
    schedule: how the sparsity is reached, unless an option says otherwise.
    about: what a help text adds to the name.
    compensates: whether the weights that stay make up for those that go; see `second_order`.
    """

    score: str | None = None
    schedule: str = "one_shot"
    about: str = ""
    compensates: bool = False


REGISTRY = {
    "iterative_magnitude": Method("scores.magnitude", "iterative"),
    "magnitude": Method("scores.magnitude"),
    "gradient": Method("scores.gradient"),
    "activation": Method("scores.activation", about="Wanda"),
    "second_order": Method("second_order.saliency", about="SparseGPT", compensates=True),
    "random": Method("scores.random"),
    "tiles": Method(schedule="iterative", about="weights that share a bit line of a tile"),
    "filters": Method(about="whole channels, so that tensors become smaller"),
}
#: Methods of `tinynets.prune`, which score single weights.
METHODS = tuple(name for name, method in REGISTRY.items() if method.score)
#: Methods that remove more at once: `tinynets.prune_for_tiles` and `tinynets.prune_filters`.
GROUPS = tuple(name for name, method in REGISTRY.items() if not method.score)


def check_method(name: str, known: tuple[str, ...] = METHODS) -> Method:
    """Return the method of a name; raise ValueError unless it is one of the known."""
    if name not in known:
        raise ValueError(f"method must be one of {', '.join(known)}; got {name!r}")
    return REGISTRY[name]


def methods_help() -> str:
    """Return all methods as a help text lists them."""
    about = {name: f" ({m.about})" if m.about else "" for name, m in REGISTRY.items()}
    single = ", ".join(name + about[name] for name in METHODS)
    groups = (f"{name}: {REGISTRY[name].about}" for name in GROUPS)
    return f"Single weights: {single}. {'. '.join(groups)}"


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """How a network is pruned and fine-tuned.

    method: one of METHODS; "second_order" also changes the weights that stay.
    sparsity: fraction of the weights that end as zero, in [0, 1); None with an N:M scope.
    scope: which weights compete: "global", "layer", "output" or "N:M"; see `masks.choose`.
    schedule: "one_shot", "iterative" or "cubic"; None for the method's own.
    rounds: steps in which the schedule reaches the sparsity.
    epochs: training after each round.
    learning_rate: of that training.
    exclude: paths of modules that stay as they are and do not count for the sparsity.
    seed: of the calibration samples, of random scores and of the training.
    """

    method: str = "iterative_magnitude"
    sparsity: float | None = None
    scope: str = "global"
    schedule: str | None = None
    rounds: int = 5
    epochs: int = 10
    learning_rate: float = 1e-3
    exclude: tuple[str, ...] = ()
    seed: int = 0
