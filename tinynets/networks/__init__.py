"""Networks as layers of weights: extracting them from a module, models, data and training."""
