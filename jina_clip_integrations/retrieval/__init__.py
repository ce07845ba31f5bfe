"""What every application of vectors shares: which model made them, rankings, recall."""
