"""The options of pruning the user's own network, with their defaults; loads nothing heavy."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tinynets.pruning.methods import GROUPS, METHODS, PruneOptions, check_method

if TYPE_CHECKING:
    from crossbar_sim.config import RunConfig
    from mapping.tiling.tiles import TileConfig

#: Word lines and bit lines of the tiles that are counted by default.
TILE = (32, 32)


def _tile() -> "TileConfig":
    from mapping.tiling.tiles import TileConfig

    return TileConfig(*TILE)


@dataclass(frozen=True)
class Options:
    """How to prune the user's own network.

    tile: size of the tiles that are counted, and for which method "tiles" prunes.
    round_to: the number of channels that "filters" leaves is a multiple of it.
    bits: of each weight after pruning; 0 for no quantisation.
    by_reads: see `tinynets.pruning.for_tiles.TileOptions`.

    The other options are those of `tinynets.pruning.methods.PruneOptions`; None stands for the
    method's own default. Raises ValueError for options that contradict each other, before anything
    is trained.
    """

    method: str = PruneOptions.method
    sparsity: float | None = 0.9
    rounds: int = PruneOptions.rounds
    epochs: int = PruneOptions.epochs
    learning_rate: float = PruneOptions.learning_rate
    seed: int = PruneOptions.seed
    tile: "TileConfig" = field(default_factory=_tile)
    scope: str | None = None
    schedule: str | None = None
    exclude: tuple[str, ...] = ()
    round_to: int = 1
    bits: int = 0
    by_reads: float = 0.0

    @classmethod
    def from_config(cls, settings: "RunConfig | None", given: dict[str, Any]) -> "Options":
        """Return each option as given, or else as configured, or else its default.

        given: options by name; None for an option that is not given.
        """
        from crossbar_sim.config.sections import PruneConfig
        from mapping.tiling.tiles import TileConfig

        values: dict[str, Any] = {}
        if settings:
            rule = settings.prune or PruneConfig()
            values = rule.model_dump(include={"method", "sparsity", "rounds", "bits"})
            values |= {"epochs": rule.epochs_per_round, "learning_rate": rule.learning_rate}
            values["tile"] = TileConfig(settings.tile.n_word, settings.tile.n_bit)
            values["seed"] = settings.seed
        if ":" in (given["scope"] or ""):
            values["sparsity"] = None  # an N:M scope implies it
        return cls(**values | {name: value for name, value in given.items() if value is not None})

    def __post_init__(self) -> None:
        # Imported here, since they load torch.
        from tinynets.networks.masks import n_to_keep
        from tinynets.pruning.compression import check_bits
        from tinynets.pruning.schedules import sparsities

        check_method(self.method, (*METHODS, *GROUPS))
        if self.method in GROUPS:
            if self.schedule is not None:
                raise ValueError(f"method {self.method!r} has its own schedule; leave it out")
            if self.scope not in (None, "global", "layer"):
                raise ValueError(
                    f"scope must be 'global' or 'layer' for method {self.method!r}; got "
                    f"{self.scope!r}"
                )
        if self.round_to > 1 and self.method != "filters":
            raise ValueError(f"round_to is for method 'filters'; got method {self.method!r}")
        if self.by_reads and self.method != "tiles":
            raise ValueError(f"by_reads is for method 'tiles'; got method {self.method!r}")
        if self.bits:
            check_bits(self.bits)
        # Called only to fail before anything is trained.
        n_to_keep(self.sparsity, self.scope or "global")
        sparsities(self.schedule or "one_shot", self.sparsity or 0.0, self.rounds)

    def given(self, *names: str) -> dict[str, Any]:
        """Return the options of these names that are not None."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}
