"""Choosing switches: exactness, speed, and bits against the number of resistors."""
