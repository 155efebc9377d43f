"""What the commands do, as functions: run, prune, and a wafer's way to the fab and back."""
