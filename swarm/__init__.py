"""What every peer of a run agrees on: manifest, records, data, model, gradient, averaging, state, network."""

__version__ = "0.1.0"
