"""The laws of imprecise resistors at full effort."""
