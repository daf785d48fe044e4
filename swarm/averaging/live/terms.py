"""What the manifest fixes for a round: spans, the size of every frame, the policy, and which digests of state are due.

Sizes follow from the manifest alone, so that every message can be checked before memory is taken for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import psutil

from swarm.averaging.aggregator import Aggregator, aggregator_named
from swarm.averaging.codec import Codec, codec_named, frame_bytes
from swarm.averaging.round.messages import MAX_BYTES, MAX_SPANS, MAX_STATE, sha256
from swarm.averaging.round.policy import Policy
from swarm.errors import ConfigError
from swarm.run.manifest import Manifest

STATE_SHARE = 16  # without a checkpoint, one in so many spans is compared in a round
PREFIX_BYTES = 8
ROOT_BYTES = 32
FOLLOW_ROUNDS = 12  # for a newcomer's download, from the checkpoint after the one it takes
PART_MESSAGE_BYTES = 4096  # a Part or a Mean without its payload
EARLY_SHARE = 4  # parts held may take one in so many bytes of the machine's memory

Digests = Callable[[Sequence[int]], list[bytes]]
Root = Callable[[Sequence[bytes]], bytes]  # from the digests of all spans


@dataclass(frozen=True)
class Terms:
    """size: values in the vector. checkpoint_every: rounds between two whole comparisons of state."""

    run: bytes
    size: int
    span_size: int
    codec: Codec
    aggregator: Aggregator
    checkpoint_every: int
    policy: Policy

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        starts = range(0, self.size, self.span_size)
        return tuple(slice(start, min(start + self.span_size, self.size)) for start in starts)

    def values(self, span: int) -> int:
        """Values in a span."""
        return self.spans[span].stop - self.spans[span].start

    @cached_property
    def frame_sizes(self) -> frozenset[int]:
        """Bytes a frame may have: that of a full span, and that of the last one."""
        return frozenset(frame_bytes(self.codec, self.values(span)) for span in (0, len(self.spans) - 1))

    @property
    def bulk_bytes(self) -> int:
        """The largest message with a payload."""
        return PART_MESSAGE_BYTES + max(self.frame_sizes) + 64

    @property
    def control_bytes(self) -> int:
        """The largest message without one: a proposal with the Readys of two ballots, or a commit."""
        return min(MAX_BYTES, 2**20 + len(self.spans) * 256)

    @cached_property
    def group(self) -> int:
        """Spans that share one digest, so that the digests of all spans fit into a Ready."""
        return -(-len(self.spans) * PREFIX_BYTES // (MAX_STATE - ROOT_BYTES))

    def whole(self, round: int) -> bool:
        """Is the whole state compared in the round that builds on this one?"""
        return round % self.checkpoint_every == 0

    def due(self, round: int) -> tuple[int, ...]:
        """Which groups of spans of the state after `round` are compared in the next round, in order."""
        groups = range(-(-len(self.spans) // self.group))
        return tuple(groups if self.whole(round) else [i for i in groups if i % STATE_SHARE == round % STATE_SHARE])

    def state(self, round: int, digests: Digests, root: Root) -> bytes:
        """The 8-byte digests that are due, in order: of a span, or of several together in very long vectors.

        Where the whole state is compared its root follows: 32 bytes that pin everything, step and samples too.
        """
        groups = self.due(round)
        spans = [
            i for group in groups for i in range(group * self.group, min((group + 1) * self.group, len(self.spans)))
        ]
        found = dict(zip(spans, digests(spans), strict=True)) if spans else {}
        told = b"".join(self._prefix([found[i] for i in spans if i // self.group == group]) for group in groups)
        return told + root([found[i] for i in spans]) if self.whole(round) else told

    def state_bytes(self, round: int) -> int:
        """The size of `state`."""
        return PREFIX_BYTES * len(self.due(round)) + (ROOT_BYTES if self.whole(round) else 0)

    def _prefix(self, digests: list[bytes]) -> bytes:
        return (digests[0] if self.group == 1 else sha256(*digests))[:PREFIX_BYTES]


def terms_of(manifest: Manifest, size: int) -> Terms:
    """The terms of a run whose vector has `size` values. IncompatibleError for a codec that this version lacks."""
    averaging = manifest.averaging
    codec = codec_named(averaging.codec)
    spans = -(-size // averaging.span_size)
    if spans > MAX_SPANS:
        raise ConfigError(
            f"averaging.span_size {averaging.span_size} cuts {size} values into {spans} spans, at most {MAX_SPANS}; "
            "use larger spans"
        )
    frame = frame_bytes(codec, min(size, averaging.span_size))
    room = psutil.virtual_memory().total // EARLY_SHARE // frame
    policy = Policy(
        spans=spans,
        vector_bytes=spans * frame,
        quorum_rule=averaging.quorum,
        weight_cap=averaging.weight_cap,
        anchors=frozenset(manifest.join.anchors),
        early_parts=max(4 * spans, room),
        audit_rounds=0,
        history_rounds=max(Policy.history_rounds, manifest.training.checkpoint_every + FOLLOW_ROUNDS),
    )
    return Terms(
        run=bytes.fromhex(manifest.digest),
        size=size,
        span_size=averaging.span_size,
        codec=codec,
        aggregator=aggregator_named(averaging.aggregator),
        checkpoint_every=manifest.training.checkpoint_every,
        policy=policy,
    )
