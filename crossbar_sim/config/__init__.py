"""The configuration of runs and studies: TOML tables, with a bound and a default for every key.

The names below are loaded on first use, so that a command starts fast.
"""

from typing import TYPE_CHECKING

from tinynets.lazily import lazily

if TYPE_CHECKING:
    from crossbar_sim.config.problems import ConfigError
    from crossbar_sim.config.run import RunConfig, load_config

__all__ = ["ConfigError", "RunConfig", "load_config"]

__getattr__ = lazily(__name__, {"problems": ("ConfigError",), "run": ("RunConfig", "load_config")})
