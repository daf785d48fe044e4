"""What a peer says of itself and what is said about a run: events, records, one line, a view, a farewell."""
