"""A real swarm to be broken: a seed, four peers that can be told to do wrong, a monitor, Prometheus and a browser.

Alerts are judged by their expressions, asked of a live Prometheus with the shipped rules: how long each must hold
before it fires is proved by the rule tests, which need not wait.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from headless import Browser, chromium
from live_prometheus import MONITORING, prometheus, wait_for
from runbook import Runbook

from monitoring.validate import query
from peers.demo.follow import Followed
from swarm.trust.identity import Identity
from swarm.trust.peer_id import friendly_name
from tests.peers.real_swarm import LOOPBACK, RealSwarm, free_port, make_run, swarm_of
from tests.small_disk import mounted

PEERS = ("ada", "ben", "cem", "dot")
DISK_BYTES = 1_500_000_000  # of the peer that has a file system of its own
READY = "document.body !== null && document.body.dataset.ready === 'yes'"
CARDS = """Object.fromEntries(
  [...document.querySelectorAll('#problems article')].map((card) => [card.dataset.problem, card.textContent]))"""
OF_SCRAPED_PEERS = {"disk-full"}  # its question is for peers that Prometheus scrapes, which here it does not
MISFIT = "tests.monitoring.misfit"


class Broken:
    """The swarm and everything that looks at it. Peers are named as their folders are."""

    def __init__(self, swarm: RealSwarm, browser: Browser, folder: Path) -> None:
        self.swarm, self.browser, self.folder = swarm, browser, folder
        self.peers: dict[str, Followed] = {}
        self.port, self.door_port = free_port(), free_port()
        self.prometheus = ""
        self.pictures = folder / "pictures"
        self.pictures.mkdir()

    # --- what takes part --------------------------------------------------------------------------------------------

    def seed(self) -> None:
        """Always at the same address, so that the link stays good."""
        place = ("--listen", f"/ip4/127.0.0.1/tcp/{self.door_port}", "--log-format", "json")
        self.door = self.swarm.start("seed", "seed", str(self.swarm.run), *place)
        self.swarm.link = str(self.door.wait_for("seeding", 120, lambda: False)["link"])

    def join(self, name: str, *more: str) -> None:
        place = ("--yes", "--dir", str(self.swarm.folder / name), "--threads", "1", "--micro-batch", "8")
        arguments = ["join", self.swarm.link, *place, "--cache", str(self.swarm.folder / "cache"), *LOOPBACK, *more]
        log = self.swarm.folder / "logs" / f"{len(self.swarm.started)}-{name}.log"
        self.peers[name] = Followed(name, arguments, log, MISFIT)
        self.swarm.started.append(self.peers[name])

    def watch(self) -> None:
        place = ("--port", str(self.port), "--dir", str(self.folder / "monitor"), "--probe-private")
        self.monitor = self.swarm.start("monitor", "monitor", self.swarm.link, *place, "--log-format", "json")
        self.monitor.wait_for("monitor", 120, lambda: False)

    def points_kept(self) -> int:
        """Of the curve, in what the monitor has on disk."""
        path = self.folder / "monitor" / "picture.json"
        return len(json.loads(path.read_bytes())["curve"]) if path.is_file() else 0

    def kill(self, *names: str) -> None:
        """As the system does where memory runs out."""
        for name in names:
            self.peers[name].process.kill()
            self.peers[name].process.wait(10)

    def tell(self, deed: str, *names: str) -> None:
        """`deed`: one of the misfit's, or "" for honest again."""
        for name in names:
            (self.swarm.folder / name / "misdeed").write_text(deed)

    @contextmanager
    def stopping(self, name: str, part: float = 0.92) -> Iterator[None]:
        """The peer gets the processor for the rest of each second only, as on a machine that does other work."""
        done, pid = threading.Event(), self.peers[name].process.pid

        def hold() -> None:
            while not done.wait(1 - part):
                os.kill(pid, signal.SIGSTOP)
                done.wait(part)
                os.kill(pid, signal.SIGCONT)

        thread = threading.Thread(target=hold)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def called(self, name: str) -> str:
        """What the page calls this peer."""
        return friendly_name(Identity.load(self.swarm.folder / name / "identity.pem").peer_id)

    # --- what is seen -----------------------------------------------------------------------------------------------

    def api(self, path: str) -> Any:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)
        except (URLError, ConnectionError):
            return {}

    def problems(self) -> dict[str, set[str]]:
        """What the API says is wrong -> the names of whom it concerns."""
        told = self.api("problems").get("problems", ())
        return {each["problem"]: {peer["name"] for peer in each["peers"]} for each in told}

    def alerts(self) -> set[str]:
        """Names of the alerts whose expression is true now."""
        rules = yaml.safe_load((MONITORING / "prometheus" / "rules" / "alerts.yml").read_text(encoding="utf-8"))
        every = [rule for group in rules["groups"] for rule in group["rules"]]
        return {rule["alert"] for rule in every if query(self.prometheus, rule["expr"])}

    def page(self, name: str) -> dict[str, str]:
        """What stands on the open page: verdict and problems, by slug; and a picture of it."""
        self.browser.screenshot(self.pictures / f"{name}.png")
        return {"verdict": self.browser.text("#words"), **self.browser.evaluate(CARDS)}

    def follow(self, slug: str) -> list[str]:
        """Do what the runbook says first: is it so, and whom does it concern? What its commands print."""
        runbook = Runbook(slug)
        if slug not in OF_SCRAPED_PEERS:
            assert any(query(self.prometheus, promql) for promql in runbook.confirm()), f"{slug} is not confirmed"
        return runbook.concerned(self.swarm.link, f"http://127.0.0.1:{self.port}")

    def healthy(self, seconds: float = 240) -> None:
        """Wait until all is well again, or was from the beginning."""
        wait_for(lambda: self.told_well() and not self.alerts(), self.told, seconds)

    def told_well(self) -> bool:
        seen = self.api("swarm")
        return bool(seen) and seen["verdict"]["status"] == "healthy" and seen["peers"]["trainer"] == len(PEERS)

    def all_here(self) -> bool:
        """Does the page count all of them as training?"""
        return self.api("swarm").get("training") == len(PEERS)

    def told(self) -> str:
        seen = self.api("swarm")
        peers = {peer.name: peer.state for peer in self.peers.values()}
        return f"verdict {seen.get('verdict')}, problems {self.problems()}, alerts {self.alerts()}, peers {peers}"


@contextmanager
def broken_swarm(folder: Path) -> Iterator[Broken]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("PYTHONPATH", str(MONITORING.parent))
        browser = stack.enter_context(chromium(folder))
        run = make_run(folder, batch=128)
        stack.enter_context(mounted(folder / "dot", DISK_BYTES))
        swarm = stack.enter_context(swarm_of(folder, run))
        broken = Broken(swarm, browser, folder)
        broken.seed()
        for name in PEERS:
            broken.join(name, "--wait-for", str(len(PEERS)))
        broken.watch()
        for name in PEERS:
            broken.peers[name].wait_for("step", 300, lambda: False)
        targets = {"monitor": [f"127.0.0.1:{broken.port}"], "peers": []}
        broken.prometheus = stack.enter_context(prometheus(folder / "prometheus", targets))
        broken.browser.open(f"http://127.0.0.1:{broken.port}/")
        broken.browser.wait(READY)
        broken.healthy(300)
        yield broken
