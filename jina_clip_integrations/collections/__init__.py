"""A folder of one's own in a vector store: scan, passages, store."""
