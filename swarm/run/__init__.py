"""What a run is: its manifest and how it may change, the schema behind both, its size, and the link to it."""
