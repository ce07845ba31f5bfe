"""A person's own folder in a vector store: scan, passages, store, and which model made the vectors."""
