"""The results of a run, one module per question, and all together for its report."""
