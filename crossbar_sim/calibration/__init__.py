"""What adapts to the finished die: switches to its wires, outputs, digital training."""
