"""What a run finds on its die, question by question, and all of it together for its report."""
