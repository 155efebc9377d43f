"""A torch network whose layers run on tiles."""
