"""Currents of an array as torch tensors, with their exact derivatives."""
