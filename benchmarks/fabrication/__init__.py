"""From switches to a wafer and back: packs, masks, and measurement plans."""
