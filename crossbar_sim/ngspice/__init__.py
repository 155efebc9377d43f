"""ngspice in processes of its own, and the proof that the fast engine agrees with it."""
