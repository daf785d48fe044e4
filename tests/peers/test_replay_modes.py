"""`bloomswarm replay` in every mode of training, on a real swarm of two honest peers and one that reads other text.

Everything is asked twice: of the folders that the peers leave, and of the living swarm, by its link.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.cli import main
from peers.folders import PAUSED
from swarm.averaging.live.kept import kept
from swarm.state.checkpoint import saved
from swarm.trust.identity import Identity
from tests.peers.real_swarm import RealSwarm, make_run, step_of, swarm_of
from tests.peers.swarm_demo import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(400)]
LIAR = "tests.peers.reads_other_text"
PEERS = ("a", "b", "liar")
LOCAL = """
mode = "local"
[training.local]
inner_steps = 10
inner_batch = 4
overlap = {overlap}
"""
MODES = {
    "gradient, overlapped": ("overlap = true", 96),
    "local": (LOCAL.format(overlap="false"), 120),
    "local, overlapped": (LOCAL.format(overlap="true"), 120),
}


@pytest.fixture(scope="module", params=MODES)
def swarm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSwarm]:
    """It has trained for 14 rounds and more, and is paused."""
    training, batch = MODES[request.param]
    folder = tmp_path_factory.mktemp("swarm")
    with swarm_of(folder, make_run(folder, batch=batch, training=training)) as swarm:
        swarm.seed()
        peers = [swarm.join(name, "--wait-for", "3") for name in ("a", "b")]
        peers.append(swarm.join("liar", "--wait-for", "3", module=LIAR))
        wait_until(lambda: all(step_of(peer) >= 14 for peer in peers), 240, "all are in the 14th round")
        for name in PEERS:
            (folder / name / PAUSED).touch()
        wait_until(lambda: len({step_of(peer) for peer in peers}) == 1, 60, "all stand at one step")
        yield swarm


def id_of(swarm: RealSwarm, name: str) -> str:
    return Identity.load(swarm.folder / name / "identity.pem").peer_id


def step_to_check(swarm: RealSwarm, whose: str) -> int:
    """The newest that it keeps and `a` has the state and the round of."""
    states = {int(path.name[5:]) for path in saved(swarm.folder / "a" / "checkpoints")}
    found = [step for step, _ in kept(swarm.folder / whose / "contributions") if states & {step, step - 1}]
    return max(step for step in found if step < max(states))


def verdict(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object]]:
    """Exit code, and the figures."""
    code = 0
    try:
        main(["replay", *map(str, words), "--device", "cpu", "--json"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    assert said.out.strip(), said.err
    told = json.loads(said.out.strip().splitlines()[-1])
    print(words[1:4], told)
    return code, told


@pytest.mark.parametrize(("whose", "expected"), [("a", 0), ("b", 0), ("liar", 11)])
def test_the_honest_pass_and_the_liar_is_found(
    swarm: RealSwarm, capsys: pytest.CaptureFixture[str], tmp_path: Path, whose: str, expected: int
) -> None:
    peer, step = id_of(swarm, whose), step_to_check(swarm, whose)
    of_it = ("--peer", peer, "--step", step)
    code, told = verdict(capsys, swarm.folder / "a", *of_it, "--sent", swarm.folder / whose)
    assert (code, told["peer"], told["step"]) == (expected, peer, step), told
    code, asked = verdict(capsys, swarm.link, *of_it, "--dir", tmp_path / "fetched")
    assert (code, asked["tolerance"]) == (expected, told["tolerance"]), asked
    assert asked["relative_error"] == pytest.approx(told["relative_error"], rel=0.05, abs=0.002)
