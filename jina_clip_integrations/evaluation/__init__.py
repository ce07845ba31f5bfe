"""How well a model finds things: data sets of pairs and queries, exact search, metrics, storage types, reports."""
