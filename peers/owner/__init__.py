"""What the owner of a run decides after it has begun, as its peers learn it: who takes part, and what changes."""
