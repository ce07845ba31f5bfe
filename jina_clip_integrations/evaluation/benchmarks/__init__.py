"""Public benchmarks, through mteb: our models as its models, its tasks by name, results in its format (`evaluate`)."""
