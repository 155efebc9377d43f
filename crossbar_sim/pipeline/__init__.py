"""The steps of a run, as functions of a configuration, and the store of their results."""
