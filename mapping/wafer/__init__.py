"""What a meter tells of the resistors of a wafer, and which readings tell most."""
