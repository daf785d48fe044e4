"""A newcomer and a drifted peer among real peers that train on: the same bytes in the end, and only what is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peers.state.checkpoint_donor import CheckpointDonor
from swarm.network.failure import RefusedError
from tests.peers import state_swarm as tools
from tests.peers.state_swarm import Keeper
from tests.swarm.averaging.live.trainees import wait_until
from tests.swarm.network.conftest import Join, join  # noqa: F401

pytestmark = [pytest.mark.real, pytest.mark.slow]
Start = Callable[[], Keeper]


@pytest.fixture(params=["gradient", "local"])
def start(request: pytest.FixtureRequest, join: Join, tmp_path: Path) -> Iterator[Start]:  # noqa: F811
    """Each call starts one more peer of the same run."""
    signed, alive, peers = tools.signed_run(mode=request.param), {}, []

    def begin() -> Keeper:
        seeds = [peers[0].network] if peers else []
        network = join(*seeds, run=signed.digest)
        peer = Keeper(network, signed, len(peers), alive=alive, folder=tmp_path / f"peer-{len(peers)}")
        peers.append(peer)
        peer.start(steps=10_000)
        return peer

    yield begin
    for peer in peers:
        peer.close()


def agree(peers: list[Keeper], after: int = 0) -> bool:
    """Do the checkpoints of later steps that all of them have hold one state, and is there such a step?"""
    roots = [
        {path.name: root for _, root, path in peer.donor._checkpoints() if int(path.name[5:]) > after} for peer in peers
    ]
    shared = set.intersection(*map(set, roots))
    assert all(len({found[step] for found in roots}) == 1 for step in shared), "replicas differ"
    return bool(shared)


def test_a_newcomer_takes_the_state_and_is_in_the_next_round(start: Start) -> None:
    old = [start() for _ in range(3)]
    wait_until(lambda: min(peer.state.step for peer in old) > 30, 60, "rounds before it", old)
    new = start()
    everybody = [*old, new]
    wait_until(
        lambda: new.caught_up_at and sum(included for _, included in new.level) >= 4,
        60,
        "the newcomer in rounds",
        everybody,
    )
    assert new.caught_up_at[0] > 12, "it did not replay everything from the start"
    wait_until(lambda: agree(everybody), 30, "a checkpoint of all", everybody)
    assert tools.received(new.network) > sum(vector.nbytes for vector in new.state.vectors)
    level = next(turn for turn, (with_all, _) in enumerate(new.level) if with_all)
    first = next(turn for turn, (_, included) in enumerate(new.level) if included)
    assert first <= level + 5, "in the round after it has caught up: these take a fifth of a second each"


@pytest.mark.parametrize("start", ["gradient"], indirect=True)
def test_a_newcomer_whose_donors_are_busy_waits_for_one_and_does_not_begin_anew(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's beginning needs no donor; a swarm that is far ahead cannot be followed from there."""
    busy, offers = [True], CheckpointDonor._offers

    def answer(donor: CheckpointDonor) -> bytes:
        if busy[0]:
            raise RefusedError("too many ask at once; try again later")
        return offers(donor)

    monkeypatch.setattr(CheckpointDonor, "_offers", answer)
    old = [start() for _ in range(3)]
    wait_until(lambda: min(peer.state.step for peer in old) > 40, 60, "rounds before it", old)
    new = start()
    wait_until(lambda: "everybody" in new.watched.given_up, 60, "nobody gives it a state", [*old, new])
    assert "nobody has it" in new.watched.given_up["everybody"]
    assert (new.state.step, new.caught_up_at) == (0, [])
    busy[0] = False
    wait_until(lambda: len(new.caught_up_at) > 0, 60, "it takes one as soon as it is given", [*old, new])
    assert new.caught_up_at[0] > 30


def test_a_drifted_peer_notices_and_fetches_the_spans_that_differ(start: Start) -> None:
    peers = [start() for _ in range(3)]
    drifted = peers[2]

    def settled() -> bool:
        """Has each a checkpoint of its own making? On a busy machine the last one takes a state first."""
        return min(peer.state.step for peer in peers) > 9 and agree(peers, max(drifted.caught_up_at, default=0))

    wait_until(settled, 60, "rounds before", peers)
    before, joined = tools.received(drifted.network), len(drifted.caught_up_at)
    span = drifted.state.spans()[2]
    drifted.state.vectors[1][span] += 1.0
    wait_until(lambda: len(drifted.caught_up_at) > joined, 60, "it notices", peers)
    reached = max(peer.state.step for peer in peers)  # until then it has kept drifted checkpoints
    wait_until(lambda: agree(peers, reached), 30, "a checkpoint of all after that", peers)
    size = 4 * len(drifted.state.vectors) * (span.stop - span.start)
    spans = len(drifted.state.spans())
    fetched = tools.received(drifted.network) - before
    assert fetched < (2 * size + 64 * spans) * (len(drifted.caught_up_at) - joined), (
        f"{fetched} bytes for a span of {size}"
    )
