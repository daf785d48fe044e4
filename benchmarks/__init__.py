"""Every speed claim of this project, measured beside its baseline. Each prints a table and, last, a JSON object."""
