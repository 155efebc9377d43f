"""The steps of a run, as functions of a configuration, and where their results are kept."""
