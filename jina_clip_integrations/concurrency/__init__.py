"""Threads, event loops, locks and flows: how to wait for work, whatever the work is."""
