"""A peer behind a router that masquerades: nobody can dial it, it finds that out, and takes part at full value."""

from __future__ import annotations

from pathlib import Path

import pytest

from peers.demo.follow import Followed
from peers.lifecycle import end_all
from tests.peers.namespaces import HOME, OUTSIDE, home_behind_a_router, why_not
from tests.peers.real_swarm import RealSwarm, in_rounds_of, make_run, step_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]
MODULE = "tests.peers.namespaces"


class Spread(RealSwarm):
    """The commands of one run, each in the namespace of a process."""

    def begin(self, place: int, name: str, *arguments: str) -> Followed:
        told = [str(place), *arguments, "--log-format", "json"]
        peer = Followed(name, told, self.folder / "logs" / f"{len(self.started)}-{name}.log", MODULE)
        self.started.append(peer)
        return peer

    def join_at(self, place: int, name: str, *arguments: str) -> Followed:
        own = ("--yes", "--dir", str(self.folder / name), "--threads", "1", "--cache", str(self.folder / "cache"))
        return self.begin(place, name, "join", self.link, *own, *arguments)


def test_a_peer_behind_a_nat_takes_part_at_full_value(tmp_path: Path) -> None:
    if why := why_not():
        pytest.skip(f"NO NAT WAS TESTED: {why}")
    swarm = Spread(tmp_path, make_run(tmp_path))
    with home_behind_a_router() as places:
        try:
            seed = swarm.begin(places.internet, "seed", "seed", str(swarm.run))
            swarm.link = str(seed.wait_for("seeding", 60, lambda: False)["link"])
            a = swarm.join_at(places.internet, "a")
            wait_for(lambda: in_rounds_of(a, 1), 90, "one trains in the open", a)
            home = swarm.join_at(places.home, "home")
            wait_for(lambda: in_rounds_of(home, 2) and in_rounds_of(a, 2), 120, "rounds of two", a, home)
            said = home.latest["client"]["words"]
            assert "client mode, at full value" in said
            assert OUTSIDE in said, "it is seen where the router is"
            assert HOME not in said
            began = step_of(a)
            wait_for(lambda: step_of(a) > began + 10, 60, "ten rounds more", a, home)
            for peer in (a, home):
                last = peer.steps[-8:]
                assert all(step["outcome"] == "committed" and step["group"] == 2 for step in last), last
                assert all(step["included"] for step in last), last
                assert sum(step["samples"] for step in last) > 0
            common = swarm.same("a", "home")
            wait_for(lambda: bool(swarm.same("a", "home") - common), 60, "a checkpoint of both", a, home)
        finally:
            end_all([peer.process for peer in swarm.started], 8)
