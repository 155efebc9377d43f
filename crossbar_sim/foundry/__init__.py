"""A foundry's devices under a network: measured with its models, mapped, solved, checked."""
