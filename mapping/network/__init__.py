"""A whole network on tiles: mapped, saved, checked, and repaired after a measurement."""
