"""Backends that compute elsewhere: a dialect, a transport, and one request flow for all of them."""
