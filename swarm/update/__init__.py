"""The shared update: everything between the averaged bytes and the new shared state, the same bytes on every CPU."""
