"""Taking a state from donors of which some lie, refuse, stall, crawl or die: real networks, the others go on."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from peers.state.checkpoint_donor import CheckpointDonor, allowance
from swarm.errors import LinkError, NetworkError
from swarm.network.host import Network
from swarm.run.manifest import SignedManifest
from swarm.state.shared import SharedState
from tests.peers import state_swarm as tools
from tests.swarm.network.conftest import Join, join  # noqa: F401

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def signed() -> SignedManifest:
    """0.9M parameters in 56 spans, 11 MB of state."""
    return tools.signed_run(hidden=128, layers=4, span_size=16384)


@pytest.fixture(scope="module")
def certified(signed: SignedManifest) -> SharedState:
    return tools.some_state(signed.manifest)


Donors = Callable[..., list[Network]]


@pytest.fixture
def donors(join: Join, signed: SignedManifest, certified: SharedState, tmp_path: Path) -> Donors:  # noqa: F811
    """`donors(None, lie)`: a sound one and one that lies; the first network knows all of them and has nothing."""

    def start(*damages: tools.Damage | None, sound: int = 0, **options: object) -> list[Network]:
        first = join(run=signed.digest)
        networks = [first]
        for number, damage in enumerate(damages):
            network = join(first, run=signed.digest, **options)
            folder = tmp_path / f"donor-{number}"
            tools.keep(folder, certified, signed)
            if damage is None:
                CheckpointDonor(network, signed.manifest, folder / "checkpoints")
            else:
                tools.DamagedDonor(network, signed.manifest, folder, damage, sound)
            networks.append(network)
        return networks

    return start


def take(networks: list[Network], signed: SignedManifest, certified: SharedState, folder: Path) -> tools.Watched:
    """What the first network gets from the others, and the fetcher's watch."""
    fetcher = tools.fetcher(networks[0], signed.manifest, folder, certified)
    state = tools.some_state(signed.manifest, step=0, seed=1)
    head = fetcher.fetch(
        [network.peer_id for network in networks], state, lambda: tools.some_state(signed.manifest, step=0, seed=1)
    )
    assert head == tools.HEAD
    assert state.digest() == certified.digest(), "the same bytes, step and samples"
    return fetcher.watch


@pytest.mark.parametrize(
    ("damage", "reasons"),
    [
        (tools.lie, {"digest"}),
        (tools.cut, {"refused"}),
        (tools.refuse, {"refused"}),
        (tools.stall, {"stalled"}),
        (tools.crawl, {"slow", "stalled"}),
    ],
)
def test_a_damaged_donor_is_noticed_and_the_others_go_on(
    damage: tools.Damage,
    reasons: set[str],
    donors: Donors,
    signed: SignedManifest,
    certified: SharedState,
    tmp_path: Path,
) -> None:
    networks = donors(None, damage, None)
    watch = take(networks, signed, certified, tmp_path / "joiner")
    assert set(watch.given_up) == {networks[2].peer_id}
    assert set(watch.given_up.values()) <= reasons
    assert tools.received(networks[0]) < 1.5 * sum(vector.nbytes for vector in certified.vectors)
    done, total, _ = watch.told[-1]
    assert done == total == sum(vector.nbytes for vector in certified.vectors)
    assert not list((tmp_path / "joiner" / "download").iterdir()), "nothing is left of the download"


def test_a_liar_among_many_spoils_nothing_and_is_not_asked_again(
    donors: Donors, signed: SignedManifest, certified: SharedState, tmp_path: Path
) -> None:
    networks = donors(tools.lie, tools.lie, tools.lie, None, sound=2)
    fetcher = tools.fetcher(networks[0], signed.manifest, tmp_path / "joiner", certified)
    state = tools.some_state(signed.manifest, step=0, seed=1)
    peers = [network.peer_id for network in networks]
    fetcher.fetch(peers, state, lambda: tools.some_state(signed.manifest, step=0, seed=1))
    assert state.digest() == certified.digest()
    assert fetcher.liars == set(peers[1:4])
    assert networks[0].rejected()["digest"] == 3
    before = [network.traffic.total("sent", tools.PURPOSE) for network in networks[1:4]]
    fetcher.fetch(peers, tools.some_state(signed.manifest, step=0, seed=2), lambda: state)
    assert [network.traffic.total("sent", tools.PURPOSE) for network in networks[1:4]] == before


def test_a_donor_that_dies_on_the_way_is_replaced(
    donors: Donors, signed: SignedManifest, certified: SharedState, tmp_path: Path
) -> None:
    victims: list[Network] = []

    def die(answer: bytes) -> None:
        threading.Thread(target=victims[0].close, daemon=True).start()

    networks = donors(die, None, None, sound=5)
    victims.append(networks[1])
    watch = take(networks, signed, certified, tmp_path / "joiner")
    assert set(watch.given_up) == {networks[1].peer_id}
    assert watch.given_up[networks[1].peer_id] in ("closed", "unreachable", "stalled")


def test_nobody_is_believed_where_all_lie(
    donors: Donors, signed: SignedManifest, certified: SharedState, tmp_path: Path
) -> None:
    """Three strangers that agree with each other are no proof: only the certified root is."""
    networks = donors(tools.lie, tools.lie, tools.lie)
    fetcher = tools.fetcher(networks[0], signed.manifest, tmp_path / "joiner", certified)
    state = tools.some_state(signed.manifest, step=0, seed=1)
    before = state.digest()
    with pytest.raises(NetworkError, match="spans could not be fetched"):
        fetcher.fetch(
            [network.peer_id for network in networks], state, lambda: tools.some_state(signed.manifest, step=0, seed=1)
        )
    assert state.digest() == before, "untouched"


def test_only_what_differs_is_fetched(
    donors: Donors, signed: SignedManifest, certified: SharedState, tmp_path: Path
) -> None:
    networks = donors(None, None)
    drifted = certified.copy()
    for span in (3, 40):
        drifted.vectors[1][drifted.spans()[span].start] += 1.0
    tools.keep(tmp_path / "joiner", drifted, signed)
    fetcher = tools.fetcher(networks[0], signed.manifest, tmp_path / "joiner", certified)
    state = drifted.copy()
    state.step += 1
    fetcher.fetch(
        [network.peer_id for network in networks], state, lambda: tools.some_state(signed.manifest, step=0, seed=1)
    )
    assert state.digest() == certified.digest()
    span_bytes = 3 * 4 * signed.manifest.averaging.span_size
    table_bytes = 16 + 32 * len(certified.spans())
    assert 2 * span_bytes < tools.received(networks[0]) < 2 * span_bytes + table_bytes + 2000


@pytest.mark.parametrize("pinned", ["right", "other root", "not yet"])
def test_a_pinned_state_is_the_only_one_that_is_taken(
    pinned: str, donors: Donors, signed: SignedManifest, certified: SharedState, tmp_path: Path
) -> None:
    networks = donors(None)
    peers = [network.peer_id for network in networks]
    pin = {
        "right": (8, certified.digest()),
        "other root": (8, hashlib.sha256(b"another").hexdigest()),
        "not yet": (12, certified.digest()),
    }[pinned]
    fetcher = tools.fetcher(networks[0], signed.manifest, tmp_path / "joiner", certified, pin=pin)
    state = tools.some_state(signed.manifest, step=0, seed=1)
    if pinned == "right":
        fetcher.fetch(peers, state, lambda: tools.some_state(signed.manifest, step=0, seed=1))
        assert state.digest() == certified.digest()
        return
    with pytest.raises(LinkError if pinned == "other root" else NetworkError) as caught:
        fetcher.fetch(peers, state, lambda: tools.some_state(signed.manifest, step=0, seed=1))
    assert f"round {pin[0]}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tools.received(networks[0]) == 0, "refused before anything was downloaded"


def test_who_drifts_often_may_heal_each_time_where_a_state_is_small() -> None:
    small = allowance(300_000, lambda: 0.0)
    assert all(small.take("drifting", 300_000) for _ in range(100))
    large = allowance(10**9, lambda: 0.0)
    assert [large.take("greedy", 10**9) for _ in range(5)] == [True] * 4 + [False]
    assert sum(large.take(f"peer {number}", 10**9) for number in range(100)) == 60, "64 in all"
