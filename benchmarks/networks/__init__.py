"""What networks of other projects become."""
