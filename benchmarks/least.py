"""The least that a round's arithmetic takes: all spans encoded, hashed, checked and reduced once, in one process alone.

Beside what the bytes alone take of the cores this bounds any round of this protocol on a machine with so many of them.
"""

from __future__ import annotations

import time
from statistics import median


def arithmetic_seconds(values: int, peers: int, repeat: int = 5) -> float:
    """CPU seconds of one peer with one thread for its share of a round among so many, warm; a median."""
    import torch

    from swarm import compiled
    from swarm.heap import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    _once(values, peers)  # also imports what has something to compile
    compiled.ready()
    return median([_once(values, peers) for _ in range(repeat + 1)][1:])


def _once(values: int, peers: int) -> float:
    import numpy as np

    from benchmarks.contenders import contribution
    from benchmarks.run import layout_of, manifest_of
    from swarm.averaging.aggregator import reduce_span
    from swarm.averaging.codec import encode_with_feedback
    from swarm.averaging.live.arithmetic import checked
    from swarm.averaging.live.terms import terms_of
    from swarm.digest import content_digest

    terms = terms_of(manifest_of(values, peers), layout_of(values).size)
    size = terms.values(0)
    vector, owed = contribution(size, 0), np.zeros(size, np.uint16)
    memory = np.empty(size, np.uint16)
    spent = time.process_time()
    first = encode_with_feedback(terms.codec, vector, owed, out=memory)
    content_digest(first.frame)
    encoded = time.process_time() - spent
    spent = time.process_time()
    checked(terms, first.frame, 0, measure=True)
    part = time.process_time() - spent
    spent = time.process_time()
    mean = reduce_span(terms.codec, terms.aggregator, size, [(first.frame, 1.0)] * peers, float(peers), owed)
    content_digest(mean.frame)
    reduced = time.process_time() - spent
    spent = time.process_time()
    checked(terms, mean.frame, 0, measure=False)
    kept = time.process_time() - spent
    others = (peers - 1) / peers  # of the vector: parts that come to this peer, and means that come from others
    return values / size * (encoded + reduced / peers + others * (part + kept))
