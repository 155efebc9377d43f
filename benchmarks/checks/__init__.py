"""Checks of the code itself: unchanged answers, faults that tests notice, and its size."""
