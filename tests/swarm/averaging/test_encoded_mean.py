"""The mean as its encoded bytes: the same spans and the same update as the decoded vector."""

from __future__ import annotations

import math

import numpy as np
import pytest

from swarm.averaging.averager import Averaged, Member
from swarm.averaging.codec import CodecError, codec_named, decode, encode
from swarm.averaging.encoded_mean import EncodedMean
from swarm.averaging.mean import FloatMean
from swarm.model.initial import initial_vector
from swarm.run.manifest import parse_config
from swarm.state.shared import SharedState

INT8 = codec_named("int8-block@1")
SPAN, SIZE = 4096, 3 * 4096 + 100


def frames_of(vector: np.ndarray, void: frozenset[int] = frozenset(), span: int = SPAN) -> list[bytes | None]:
    starts = range(0, len(vector), span)
    return [None if i in void else encode(INT8, vector[s : s + span]) for i, s in enumerate(starts)]


def normal(size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(size).standard_normal(size, dtype=np.float32)


def test_spans_in_order_decoded_or_void() -> None:
    frames = frames_of(normal(), void=frozenset({1}))
    spans = list(EncodedMean(INT8, SIZE, SPAN, frames).spans())
    assert [(span.start, span.stop) for span, _ in spans] == [(0, 4096), (4096, 8192), (8192, 12288), (12288, SIZE)]
    for index, (span, values) in enumerate(spans):
        if index == 1:
            assert values is None
        else:
            assert values is not None
            assert (values == decode(INT8, frames[index], span.stop - span.start)).all()
    assert len({id(values) for _, values in spans if values is not None}) == 3  # each a new array


def test_the_norm_is_over_the_committed_spans() -> None:
    vector = normal()
    decoded = np.concatenate([values for _, values in EncodedMean(INT8, SIZE, SPAN, frames_of(vector)).spans()])
    for void in (frozenset(), frozenset({0, 3}), frozenset(range(4))):
        norm = EncodedMean(INT8, SIZE, SPAN, frames_of(vector, void)).squared_norm()
        assert math.isclose(norm, FloatMean(decoded, SPAN, void).squared_norm(), rel_tol=1e-15)


def test_damage_on_this_machine_shows_when_it_is_read() -> None:
    frames = frames_of(normal())
    frames[2] = frames[2][:-1] + b"\x7e"  # type: ignore[index]
    mean = EncodedMean(INT8, SIZE, SPAN, frames)
    with pytest.raises(CodecError, match="checksum"):
        mean.squared_norm()
    with pytest.raises(CodecError, match="checksum"):
        list(mean.spans())


def test_two_members_that_apply_the_same_frames_hold_the_same_bytes() -> None:
    """Whole, and with a void span; and what is applied is what was encoded, not what was meant."""
    model = {"vocab_size": 300, "hidden_size": 32, "layers": 1, "heads": 2, "sequence_length": 16}
    config = parse_config(
        {"name": "x", "model": model, "data": {"sources": [{"kind": "starter"}]},
         "training": {"steps": 5, "global_batch": 4}, "optimizer": {"warmup_steps": 1},
         "averaging": {"span_size": SPAN}}, "x",
    )  # fmt: skip
    states = [SharedState.initial(config, initial_vector(config.model)) for _ in range(3)]
    size = states[0].layout.size
    for step, void in enumerate((frozenset(), frozenset({1}), frozenset())):
        gradient = normal(size)
        frames = frames_of(gradient, void)
        decoded = np.concatenate([decode(INT8, encode(INT8, gradient[s]), s.stop - s.start) for s in states[0].spans()])
        for index, state in enumerate(states):
            exact = FloatMean(gradient, SPAN, void) if index == 2 else EncodedMean(INT8, size, SPAN, list(frames))
            state.apply(Averaged(step, exact, (Member("a", 4, 4.0),)))
        assert not np.array_equal(decoded, gradient)
    assert states[0].digest() == states[1].digest() != states[2].digest()
