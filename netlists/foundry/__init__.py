"""Real devices of open processes: where a foundry's models are, and how a netlist names them."""
