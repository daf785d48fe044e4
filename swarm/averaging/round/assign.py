"""Which peer reduces which spans: shares by bandwidth, moved as little as possible.

With M members a peer of share f sends its own parts of the others' spans and its means to all others:
s(1 - f) + f(M - 1) contributions, s = 1 if it contributes. Shares minimise the slowest peer's time, so that fast peers
carry clients and slow ones (the formula at the end of the protocol's section on size).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from swarm.averaging.round.messages import Ready


@dataclass(frozen=True)
class Carrier:
    """What a roster says of one member's ability to reduce."""

    bandwidth: float  # bits a second, 0 if unknown
    full: bool
    gives: bool  # contributes itself (weight above 0)
    trust: float = 1.0  # 1 for a peer of the last roster, less for a newcomer


def carriers(readys: Sequence[Ready], suspects: Collection[str], seats: Collection[str]) -> list[Carrier]:
    """In roster order. Suspects carry nothing while there is anybody else; newcomers are given less."""
    trusted = [ready.at.peer not in suspects for ready in readys]
    return [
        Carrier(
            bandwidth=ready.bandwidth,
            full=ready.full and (good or not any(trusted)),
            gives=ready.weight > 0,
            trust=1.0 if ready.at.peer in seats else 0.5,
        )
        for ready, good in zip(readys, trusted, strict=True)
    ]


def shares(carriers: Sequence[Carrier]) -> list[float]:
    """The fraction of the vector that each member reduces; they sum to 1, and clients have 0."""
    members = len(carriers)
    able = [index for index, carrier in enumerate(carriers) if carrier.full]
    if not able:
        able = list(range(members))
    known = sorted(max(1.0, carriers[i].bandwidth) for i in able if carriers[i].bandwidth > 0)
    usual = known[len(known) // 2] if known else 1.0
    speed = {i: max(1.0, carriers[i].bandwidth or usual) * carriers[i].trust for i in able}
    own = {i: 1.0 if carriers[i].gives else 0.0 for i in able}
    cost = {i: members - 1 - own[i] for i in able}  # contributions sent per unit of share, beyond the own parts
    if all(value <= 0 for value in cost.values()):
        return [1 / len(able) if i in speed else 0.0 for i in range(members)]

    rows = [(speed[i], own[i], max(cost[i], 1e-9)) for i in able]

    def at(seconds: float) -> list[float]:
        return [min(1.0, max(0.0, seconds * fast - mine) / each) for fast, mine, each in rows]

    low, high = 0.0, members / min(speed.values())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(at(middle)) < 1 else (low, middle)
    found = dict(zip(able, at(high), strict=True))
    total = sum(found.values())
    return [found.get(i, 0.0) / total for i in range(members)]


def assign(spans: int, fractions: Sequence[float], before: Sequence[int | None]) -> tuple[int, ...]:
    """The reducer (roster index) of each span. `before`: who had it in the last round, None if gone.

    Whole spans by the largest remainder; a peer keeps as many of its spans as it still may have.
    """
    exact = [fraction * spans for fraction in fractions]
    count = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (count[i] - exact[i], i))
    for index in by_remainder[: spans - sum(count)]:
        count[index] += 1
    kept: Counter[int] = Counter()
    result: list[int | None] = []
    for span in range(spans):
        owner = before[span] if span < len(before) else None
        if owner is not None and kept[owner] < count[owner]:
            kept[owner] += 1
            result.append(owner)
        else:
            result.append(None)
    free = iter([i for i in range(len(count)) for _ in range(count[i] - kept[i])])
    return tuple(next(free) if owner is None else owner for owner in result)
