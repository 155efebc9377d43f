"""The pages that are written from the kept outputs of the other rooms."""
