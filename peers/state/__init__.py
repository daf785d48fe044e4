"""The shared state, given and taken: checkpoints, donors, catching up, what is vouched for."""
