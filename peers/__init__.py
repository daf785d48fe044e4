"""Processes: one file per role, the command line, and the composition root."""
