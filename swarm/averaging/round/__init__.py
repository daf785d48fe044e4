"""The averaging round as a sans-IO core: `Peer.step(now, event) -> effects`. See docs/protocol.md."""
