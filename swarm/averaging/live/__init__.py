"""The averaging round over real streams: the core of `swarm/averaging/round` with bytes, clock and disk."""
