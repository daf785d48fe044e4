"""A contribution computed again: the honest one is recognised through 8 bits and error feedback, other text is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swarm.averaging.averager import Contribution
from swarm.averaging.codec import encode_with_feedback
from swarm.averaging.live.kept import Keeper, Sent, kept, read_sent
from swarm.averaging.live.terms import Terms, terms_of
from swarm.averaging.round.merkle import levels
from swarm.digest import content_digest
from swarm.errors import CheckpointError, RunFailedError
from swarm.state.replay import Claim, compare, require_sent
from tests.peers.whole_swarm import Run

ROSTER = ("one", "two")
SAMPLES = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"), codec="int8-block@1")


@pytest.fixture(scope="module")
def terms(run: Run) -> Terms:
    return terms_of(run.signed.manifest, run.state().layout.size)


def gradient(run: Run, peer: str, step: int) -> Contribution:
    batches, sums = run.batches(peer), run.accumulator(run.state())
    batches.begin(step, ROSTER)
    for _ in range(SAMPLES // 3):
        sums.add(batches.next(3))
    return sums.contribution()


def encoded(gift: Contribution, terms: Terms) -> list[bytes]:
    """As sent with the residual of a round before, of about the same values."""
    before = [encode_with_feedback(terms.codec, gift.vector[place] * 1.1, None) for place in terms.spans]
    return [
        encode_with_feedback(terms.codec, gift.vector[place], first.residual).frame
        for place, first in zip(terms.spans, before, strict=True)
    ]


def claim(frames: list[bytes]) -> Claim:
    return Claim("one", 4, SAMPLES, levels([content_digest(frame) for frame in frames])[-1][0], True, bytes(32), ROSTER)


def test_the_honest_contribution_is_the_same_and_every_other_is_not(run: Run, terms: Terms) -> None:
    gift = gradient(run, "one", 4)
    frames = encoded(gift, terms)
    sent = Sent(bytes(32), 4, 0, SAMPLES, tuple(frames))
    told = claim(frames)
    require_sent(told, sent)
    honest = compare(told, sent, gradient(run, "one", 4).vector, terms)
    assert honest.same
    assert honest.relative_error < 0.03
    assert honest.cosine > 0.999
    for other in (gradient(run, "two", 4), gradient(run, "one", 5)):
        verdict = compare(told, sent, other.vector, terms)
        assert not verdict.same
        assert verdict.relative_error > 3 * verdict.tolerance, "far outside, and no matter of taste"
    for spoiled in (-gift.vector, 1.2 * gift.vector, 0 * gift.vector):
        assert not compare(told, sent, spoiled.astype(np.float32), terms).same


def test_what_was_kept_must_be_what_was_signed(run: Run, terms: Terms) -> None:
    frames = encoded(gradient(run, "one", 4), terms)
    other = encoded(gradient(run, "two", 4), terms)
    for sent in (Sent(bytes(32), 4, 0, SAMPLES, tuple(other)), Sent(bytes(32), 5, 0, SAMPLES, tuple(frames))):
        with pytest.raises(RunFailedError, match="is not what it gave to step 4"):
            require_sent(claim(frames), sent)
    with pytest.raises(CheckpointError, match="spans were kept"):
        compare(claim(frames), Sent(bytes(32), 4, 0, 12, tuple(frames[1:])), gradient(run, "one", 4).vector, terms)
    broken = (b"x" * len(frames[0]), *frames[1:])
    with pytest.raises(CheckpointError, match="cannot be decoded"):
        compare(claim(frames), Sent(bytes(32), 4, 0, 12, broken), gradient(run, "one", 4).vector, terms)


def test_the_last_few_are_kept_of_steps_that_have_a_checkpoint(tmp_path: Path) -> None:
    keep = Keeper(tmp_path / "sent", every=4, most=2)
    for step in range(14):
        gift = Contribution(np.zeros(4, np.float32), weight=3.0, samples=3, staleness=step % 2)
        keep(bytes([step]) * 32, step, gift, [b"ab", memoryview(b"cde")])
    assert [step for step, _ in kept(tmp_path / "sent")] == [13, 12], "13 was made from the state of 12"
    found = read_sent(kept(tmp_path / "sent")[0][1])
    assert found == Sent(bytes([13]) * 32, 13, 1, 3, (b"ab", b"cde"))
    assert {path.suffix for path in (tmp_path / "sent").iterdir()} == {".sent"}


def test_damage_is_one_line(tmp_path: Path) -> None:
    Keeper(tmp_path, 4, 2)(bytes(32), 4, Contribution(np.zeros(4, np.float32), 1.0, 1), [b"ab" * 50])
    path = kept(tmp_path)[0][1]
    whole = path.read_bytes()
    for data in (b"", whole[:3], whole[:20], whole[:-1], whole + b"x", b"\xff" * 40, whole.replace(b"100]", b"-10]")):
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            read_sent(path)


def test_a_disk_that_does_not_take_it_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sent").write_bytes(b"in the way")
    Keeper(tmp_path / "sent", 4, 2)(bytes(32), 4, Contribution(np.zeros(4, np.float32), 1.0, 1), [b"ab"])
    assert "could not be kept" in caplog.text
