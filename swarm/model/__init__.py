"""The model: BLOOM from the manifest, its flat vector, and the gradient of a batch."""
