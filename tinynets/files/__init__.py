"""Files that anybody may have made, and files that are there only when complete."""
