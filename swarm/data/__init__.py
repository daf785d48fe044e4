"""Text to samples: sources, tokens on disk, the mixture of languages and the plan of who reads what."""
