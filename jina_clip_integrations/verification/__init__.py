"""Whether something that claims to run a model does run it, and if not, which mistake it makes."""
