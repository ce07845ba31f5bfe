"""Files of vectors into vector stores, in bulk: Parquet into Qdrant, LanceDB and PostgreSQL with pgvector."""
