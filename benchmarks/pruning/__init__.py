"""Smaller networks, lottery tickets and hashes: what each way costs, keeps and takes."""
