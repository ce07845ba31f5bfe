"""Threads, event loops, locks and flows: how work is waited for, whatever the work is."""
