"""Pages and plots of what a run or a wafer found; nothing is computed here."""
