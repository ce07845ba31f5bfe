"""What every application of vectors shares: fingerprints, ranking, metrics."""
