"""The code itself: answers that stay, faults that tests notice, and its size."""
