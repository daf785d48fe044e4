"""Reads records, exports metrics, probes, and shows the swarm to people."""
