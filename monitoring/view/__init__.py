"""From signed records to a picture of the swarm: arithmetic only, no clock, no network, no files."""
