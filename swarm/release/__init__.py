"""A model given to the world: a transformers folder, its card, and the way to a model hub."""
