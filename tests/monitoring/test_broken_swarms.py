"""A real swarm is broken in ten ways, and whoever looks only at page, API and alerts sees which, and whose fault it is.

Peers, monitor, Prometheus and browser are the real ones; the model is tiny. In each case the runbook's commands are
typed and its questions asked. Each mends what it broke, so that the next begins with a swarm that page and alerts call
healthy; the last needs no healthy one, since a language that was starved takes minutes to be well again.
docs/monitoring.md has the table.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from broken_swarm import PEERS, READY, Broken, broken_swarm
from live_prometheus import wait_for

from monitoring.problems import BY_SLUG
from monitoring.validate import query

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1500)]
SEEN_SECONDS = 100.0  # from the break until page and alert say it; a dead peer's record lives for 30 s
NO_PEERS_SECONDS = 120.0  # for which its expression must hold before NoPeers fires
PASSING = {
    "PeersUnreachable",
    "PeersBehind",
    "PeerSlow",
}  # may come with any case: peers that restart or wait for others


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    with broken_swarm(tmp_path_factory.mktemp("broken")) as swarm:
        yield swarm


@contextmanager
def no_seed(broken: Broken) -> Iterator[None]:
    broken.door.process.kill()
    yield
    broken.seed()


@contextmanager
def killed(broken: Broken) -> Iterator[None]:
    broken.kill("ben", "cem")
    yield
    for name in ("ben", "cem"):
        broken.join(name)


def slow(broken: Broken) -> AbstractContextManager[None]:
    return broken.stopping("ben")


def told(deed: str, *names: str) -> Callable[[Broken], AbstractContextManager[None]]:
    @contextmanager
    def breaking(broken: Broken) -> Iterator[None]:
        broken.tell(deed, *names)
        yield
        broken.tell("", *names)

    return breaking


@contextmanager
def full_disk(broken: Broken) -> Iterator[None]:
    folder = broken.swarm.folder / "dot"
    if not folder.is_mount():
        pytest.skip("a file system of its own for a peer can be mounted by root only")
    filling = folder / "something-else"
    fill(filling)
    yield
    filling.unlink()


def fill(path: Path) -> None:
    """Until nothing more can be written on its disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    assert shutil.disk_usage(path.parent).free == 0


@dataclass(frozen=True)
class Case:
    """words: of the page. peers: whom page and `?problem=` name; None: nobody is to blame, "any" of them otherwise."""

    slug: str
    breaking: Callable[[Broken], AbstractContextManager[None]]
    words: str
    peers: tuple[str, ...] = ()
    besides: frozenset[str] = frozenset()  # other alerts that are right here


CASES = (
    Case("claims-implausible", told("lie", "dot"), "claims 1,000,000,000,000 samples", ("dot",)),
    Case("clock-wrong", told("clock", "dot"), "s ahead", ("dot",)),
    Case("disk-full", full_disk, "could not write the last checkpoint", ("dot",)),
    Case("digests-differ", told("diverge", "dot"), "with another model than the majority", ("dot",)),
    Case("peer-slow", slow, "under a quarter of the usual", ("ben",)),
    Case("no-seed", no_seed, "newcomers cannot join"),
    Case("peers-falling", killed, "2 peers fell silent", ("ben", "cem"), frozenset({"Forked"})),
    Case("language-starved", told("skip-french", *PEERS), "Hardly any text of fr", PEERS),
)


def test_a_killed_monitor_is_said_by_the_page_and_by_its_own_alert_and_comes_back_with_its_curve(
    broken: Broken,
) -> None:
    broken.healthy()
    wait_for(lambda: broken.points_kept() > 2, "some of the curve is on disk", 60)
    points = broken.points_kept()
    broken.monitor.process.kill()
    wait_for(lambda: "No answer from the monitor" in broken.browser.text("#words"), "the page says it", 20)
    wait_for(lambda: broken.alerts() == {"MonitorDown"}, broken.told, 20)
    assert not query(broken.prometheus, "swarm_run_samples_per_second"), "no old figure stays"
    broken.page("monitor-down")
    broken.watch()
    broken.healthy()
    broken.browser.wait("document.querySelector('#verdict').dataset.status === 'healthy'", 20)
    assert len(broken.api("swarm")["curve"]) >= points
    everybody = f'swarm_probe_peers{{result="reachable"}} == {len(PEERS) + 1}'
    wait_for(lambda: bool(query(broken.prometheus, everybody)), "the prober reaches the peers and the seed", 60)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
def test_page_api_and_alert_say_what_broke_and_whom_it_concerns(broken: Broken, case: Case) -> None:
    broken.healthy()
    alert = BY_SLUG[case.slug].alert
    with case.breaking(broken):
        seen = lambda: shown(broken, case) and alert in broken.alerts()  # noqa: E731
        wait_for(seen, broken.told, 2 * SEEN_SECONDS if case.slug == "language-starved" else SEEN_SECONDS)
        page, alerts = broken.page(case.slug), broken.alerts()
        status, answer = broken.follow(case.slug)
    asked = {row["name"] for row in json.loads(answer)["peers"]}
    assert case.words in page[case.slug]
    assert asked == {broken.called(name) for name in case.peers}
    assert all(name in page[case.slug] for name in asked)
    assert status.startswith(f"{case.slug} ({BY_SLUG[case.slug].severity})")
    assert case.words in status
    assert all(name in status for name in asked)
    assert alerts - (PASSING - {alert}) - case.besides == {alert}, page
    told = {"critical": BY_SLUG[case.slug].title, "warning": "with something to look at", "info": "Healthy: 4 peers"}
    assert told[BY_SLUG[case.slug].severity] in page["verdict"]


def shown(broken: Broken, case: Case) -> bool:
    """Does the open page show it, without having been loaded again, with everybody whom it concerns?"""
    text = broken.browser.evaluate(f"document.querySelector('[data-problem={case.slug}]')?.textContent")
    return text is not None and case.words in text and all(broken.called(name) in text for name in case.peers)


def test_when_all_are_gone_it_says_so_for_as_long_as_it_is_so_and_sees_them_come_back(broken: Broken) -> None:
    wait_for(broken.all_here, broken.told, 240)
    broken.kill(*PEERS)
    broken.door.process.kill()
    wait_for(lambda: {"NoPeers", "PeersFalling"} <= broken.alerts(), broken.told, SEEN_SECONDS)
    until = time.monotonic() + NO_PEERS_SECONDS + 15
    while time.monotonic() < until:
        assert "NoPeers" in broken.alerts(), broken.told()
        time.sleep(2)
    page = broken.page("no-peers")
    assert page["verdict"] == BY_SLUG["no-peers"].title
    assert "monitor-stale" not in page
    assert "to go" not in broken.browser.text("#left")
    (rate,) = query(broken.prometheus, "swarm_run_samples_per_second")
    assert rate["value"][1] == "0"
    broken.seed()
    for name in PEERS:
        broken.join(name)
    broken.healthy(240)
    broken.browser.wait(READY)
    healthy = "document.querySelector('#words').textContent === 'Healthy: 4 peers training.'"
    broken.browser.wait(healthy, 20)  # the page asks every two seconds
