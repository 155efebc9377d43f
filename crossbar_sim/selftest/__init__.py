"""A test on the user's machine: random cases through everything that must agree."""
