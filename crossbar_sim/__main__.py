"""`python -m crossbar_sim`, for where the command is not on the path."""

from crossbar_sim.cli import main

main()
