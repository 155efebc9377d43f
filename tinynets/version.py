"""The version of the whole distribution, stated once: pyproject.toml reads it from here."""

VERSION = "0.2.0"
