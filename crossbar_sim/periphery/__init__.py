"""The parts around the cells: converters, settling, noise, transmission gates."""
