"""Arrays whose cells are nonlinear: their laws, Newton's method on the grid, and their deck."""
