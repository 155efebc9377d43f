"""Files from untrusted sources, and files that appear only when complete."""
