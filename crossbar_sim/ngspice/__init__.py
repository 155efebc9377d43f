"""Everything that runs ngspice, and the proof that the fast engine agrees with it."""
