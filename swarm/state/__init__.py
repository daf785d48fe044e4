"""What a run has become: the shared state, its checkpoints on disk, and what is kept to compute a step again."""
