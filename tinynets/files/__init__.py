"""Files from untrusted sources, files that appear only when complete, and texts from templates."""
