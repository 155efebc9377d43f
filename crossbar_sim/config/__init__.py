"""The configuration of runs and studies: TOML tables with every key, bound and default."""

from crossbar_sim.config.run import ConfigError, RunConfig, load_config

__all__ = ["ConfigError", "RunConfig", "load_config"]
