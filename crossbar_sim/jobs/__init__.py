"""The work of the commands, as functions: run, prune, export a pack, adapt to a wafer."""
