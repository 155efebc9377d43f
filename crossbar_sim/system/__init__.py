"""The machine the work runs on: its processor, signals, failures, and the terminal."""
