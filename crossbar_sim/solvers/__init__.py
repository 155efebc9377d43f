"""The fast exact engine: node voltages and output currents of a circuit."""
