"""Proofs of output currents, and the small program that accepts or refuses them."""
