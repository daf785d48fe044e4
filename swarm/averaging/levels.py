"""Two levels of groups, for swarms beyond about 64 peers, with still one encoding of the mean: one sequence of bytes.

The full peers are dealt into G groups of g owners, fastest first, so that owners of the same *position* are about
equally fast; position p of every group owns the same column of the vector. A group reduces its columns inside; the G
owners of a column then exchange partial sums in 16 bits, each for its part of the column, encode that part of the mean
once, and everyone forwards those bytes verbatim. Sent by an owner: 2 (1 - 1/g) + 3/g values' bytes, contacts g + G - 2.

Gossip or grid averaging encodes anew in each row, so its replicas differ. Only sums can be cut like this, so there is
no aggregator to choose: one that compares senders, such as a trimmed mean, would see those of one group only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from swarm.averaging.codec import Codec, Encoded, Frame, decode, encode, encode_with_feedback
from swarm.averaging.codec.base import BLOCK, FLOAT32_MAX
from swarm.averaging.codec.float16 import Float16
from swarm.averaging.round.assign import Carrier, shares

PARTIAL = Float16()  # of partial sums: their error, 3e-4, vanishes beside the 7e-3 of the one encoding in 8 bits
ONE_LEVEL = 64  # peers up to which one group is enough: 63 contacts
MOST_SENT = 2.05  # bytes a parameter that a full peer may send
EIGHT_BITS = 1 + 2 / 256  # bytes a value of the usual codec, for `arrange`


@dataclass(frozen=True)
class Levels:
    """owners: (G, g) roster indices, by group and position. others: (G, *), those who reduce nothing, by group.

    fractions: (g,) of the vector, by position; they sum to 1. One group is the round of one level.
    """

    owners: tuple[tuple[int, ...], ...]
    others: tuple[tuple[int, ...], ...]
    fractions: tuple[float, ...]

    @property
    def contacts(self) -> int:
        """The most peers that one peer exchanges values with."""
        return len(self.fractions) + max(map(len, self.others)) - 1 + len(self.owners) - 1

    def columns(self, size: int) -> list[slice]:
        """What each position owns of a vector of `size` values: whole blocks, none at all for some if it is short."""
        return cut(0, size, self.fractions)

    def members(self, group: int) -> tuple[int, ...]:
        """Roster indices of a group in the order in which it adds up: the roster's."""
        return tuple(sorted(chain(self.owners[group], self.others[group])))


@dataclass(frozen=True)
class Traffic:
    """Bytes a parameter that one peer sends and receives in a round, without headers of frames."""

    sent: float
    received: float


def group_count(full: int) -> int:
    """Into how many groups `full` peers are dealt: as few contacts as MOST_SENT allows, equal groups where possible."""
    if full <= ONE_LEVEL:
        return 1
    possible = [count for count in range(2, full // 2 + 1) if _owner_bytes(full, count) <= MOST_SENT]
    return min(possible, key=lambda count: (full // count + (full % count > 0) + count, count))


def _owner_bytes(full: int, count: int) -> float:
    """What an owner with an equal share sends, if `full` peers are in `count` groups and what is over owns nothing."""
    owners, over = full // count, full % count > 0
    inside = (2 * owners - 2 + over) / owners * EIGHT_BITS
    return inside + (1 - 1 / count) / owners * (EIGHT_BITS + 2)


def arrange(roster: Sequence[Carrier]) -> Levels:
    """Who is in which group and owns how much: fast peers beside fast ones, clients and what is over spread evenly."""
    full = sorted((i for i, peer in enumerate(roster) if peer.full), key=lambda i: (-_speed(roster[i]), i))
    clients = [i for i, peer in enumerate(roster) if not peer.full]
    assert full, "a round without a full peer has nobody to reduce"
    count = group_count(len(full))
    positions = len(full) // count
    owning, over = full[: positions * count], full[positions * count :]
    owners = tuple(tuple(owning[group::count]) for group in range(count))
    rest = over + clients
    others = tuple(tuple(rest[group::count]) for group in range(count))
    # A column is as fast as its slowest owner; the 3/g between groups count like three members more.
    slowest = [min(_speed(roster[i]) for i in owning[p * count : (p + 1) * count]) for p in range(positions)]
    beyond = max(map(len, others)) + (3 if count > 1 else 0)
    gives = any(peer.gives for peer in roster)
    carriers = [Carrier(speed, full=True, gives=gives) for speed in slowest]
    carriers += [Carrier(0.0, full=False, gives=True)] * beyond
    return Levels(owners, others, tuple(shares(carriers)[:positions]))


def _speed(peer: Carrier) -> float:
    return peer.bandwidth * peer.trust


def cut(start: int, stop: int, fractions: Sequence[float]) -> list[slice]:
    """Neighbouring slices of [start, stop) in these fractions, whole blocks each; the last block may be short."""
    blocks = -(-(stop - start) // BLOCK)
    edges = [min(stop, start + BLOCK * round(blocks * sum(fractions[:p]))) for p in range(len(fractions))] + [stop]
    return [slice(first, last) for first, last in pairwise(edges)]


def parts(levels: Levels, column: slice, position: int) -> list[slice]:
    """The part of a column that each group's owner encodes, by group. Turned by position, so that short ones spread."""
    count = len(levels.owners)
    equal = cut(column.start, column.stop, [1 / count] * count)
    return [equal[(group + position) % count] for group in range(count)]


def traffic(levels: Levels, codec_bytes: float = EIGHT_BITS) -> dict[int, Traffic]:
    """By roster index, in closed form; every member is assumed to contribute. 2 bytes a value of a partial sum."""
    count, result = len(levels.owners), {}
    for group, owners in enumerate(levels.owners):
        members = len(owners) + len(levels.others[group])
        for share, index in zip(levels.fractions, owners, strict=True):
            inside = codec_bytes * (1 - share + share * (members - 1))
            between = (1 - 1 / count) * share * (2 + codec_bytes)
            result[index] = Traffic(inside + between, inside + between)
        for index in levels.others[group]:
            result[index] = Traffic(codec_bytes, codec_bytes)
    return result


def partial_sum(codec: Codec, size: int, sent: Sequence[tuple[Frame, float]], total_weight: float) -> np.ndarray:
    """Sum of weight / total_weight x values over a group's frames in roster order, (size,) float32.

    total_weight: of all groups. CodecError if a frame is not one of `codec` with `size` values.
    """
    total, scratch = np.zeros(size, np.float32), np.empty(size, np.float32)
    for frame, weight in sent:
        decode(codec, frame, size, scratch)
        np.multiply(scratch, np.float32(weight / total_weight), out=scratch)
        np.add(total, scratch, out=total)
    return np.clip(total, -FLOAT32_MAX, FLOAT32_MAX, out=total)  # shares may add up to a hair over 1


def combine(codec: Codec, size: int, partials: Sequence[Frame], residual: np.ndarray | None = None) -> Encoded:
    """The one encoding of a part of the mean from every group's partial sum, in the order of the groups."""
    total, scratch = np.zeros(size, np.float32), np.empty(size, np.float32)
    for frame in partials:
        np.add(total, decode(PARTIAL, frame, size, scratch), out=total)
    np.clip(total, -FLOAT32_MAX, FLOAT32_MAX, out=total)
    return encode_with_feedback(codec, total, residual)


@dataclass
class Exchange:
    """One round of two levels, computed with real frames. means: by group, what its members receive, in order.

    sent, received: bytes by roster index, frames with their headers.
    """

    means: list[list[Frame]]
    sent: list[int]
    received: list[int]

    def move(self, frame: Frame, source: int, *targets: int) -> None:
        """Count a frame from `source` to all targets but itself."""
        for target in targets:
            if target != source:
                self.sent[source] += len(frame)
                self.received[target] += len(frame)


def exchange(codec: Codec, levels: Levels, vectors: Sequence[np.ndarray], weights: Sequence[float]) -> Exchange:
    """Average `vectors`, (size,) float32 each, through both levels. Pure: for simulation, benchmark and proof."""
    result = Exchange([[] for _ in levels.owners], [0] * len(vectors), [0] * len(vectors))
    for position, column in enumerate(levels.columns(len(vectors[0]))):
        if column.start < column.stop:
            _column(codec, levels, position, column, (vectors, weights), result)
    return result


def _column(
    codec: Codec,
    levels: Levels,
    position: int,
    column: slice,
    given: tuple[Sequence[np.ndarray], Sequence[float]],
    result: Exchange,
) -> None:
    """Reduce one column inside every group, then between the groups, and forward its means to all."""
    vectors, weights = given
    total, sums = sum(weights), []
    for group, owners in enumerate(levels.owners):
        sent = []
        for member in levels.members(group):
            frame = encode(codec, vectors[member][column])
            result.move(frame, member, owners[position])
            sent.append((frame, weights[member]))
        sums.append(partial_sum(codec, column.stop - column.start, sent, total))
    for group, part in enumerate(parts(levels, column, position)):
        if part.start == part.stop:
            continue
        combiner, partials = levels.owners[group][position], []
        for own, owners in zip(sums, levels.owners, strict=True):
            partials.append(encode(PARTIAL, own[part.start - column.start : part.stop - column.start]))
            result.move(partials[-1], owners[position], combiner)
        mean = combine(codec, part.stop - part.start, partials).frame
        result.move(mean, combiner, *(owners[position] for owners in levels.owners))
        for other, owners in enumerate(levels.owners):
            result.move(mean, owners[position], *levels.members(other))
            result.means[other].append(mean)
