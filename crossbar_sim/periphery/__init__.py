"""What stands around the cells: converters, amplifiers in time, noise, transmission gates."""
