"""Sweeps: experiments as stages, kept in a store, run in child processes, written down in records."""
