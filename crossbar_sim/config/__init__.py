"""The configuration of runs and studies: TOML tables, with a bound and a default for every key."""

from crossbar_sim.config.run import ConfigError, RunConfig, load_config

__all__ = ["ConfigError", "RunConfig", "load_config"]
