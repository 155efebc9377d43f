"""What is adapted to the finished die: switches against wires, outputs, digital training."""
