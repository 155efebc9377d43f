"""Smaller networks, lottery tickets and hashes: accuracy, cost and time."""
