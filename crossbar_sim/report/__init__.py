"""Pages and plots of a run or of a measured wafer; no circuit is solved here."""
