"""How the golden set is made and proved, and the scores of simulators on it."""
