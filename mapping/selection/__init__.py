"""Which switches of a bank to close for a weight, and how precise that can be."""
