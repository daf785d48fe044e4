"""What `status --watch` draws, and `status --problem` answers from a monitor over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitoring.api import Watch, api_routes
from monitoring.server import Server
from monitoring.view.document import languages_document, peers_document, swarm_document
from monitoring.view.facts import RunFacts
from peers.telling.status_view import live_lines, peer_line, screen, spark
from swarm.records import ProgressRecord
from swarm.trust.identity import Identity
from swarm.trust.peer_id import friendly_name
from tests.peers.commands.test_cli import assert_one_line, run

DIGEST = "ab" * 32
ODD, *OTHERS = (Identity.generate().peer_id for _ in range(3))


def record(step: int, **changes: Any) -> ProgressRecord:
    told = {"total_samples": 10 * step, "samples_per_second": 2.0, "loss": 5.0, "loss_by_language": {"en": 9.0 - step}}
    return ProgressRecord(step=step, state="training", role="trainer", version="0.1.0", **told | changes)


def watched(**odd: Any) -> Watch:
    """A run of which three peers tell, one of them something else."""
    facts = RunFacts("tongues", DIGEST, 20, 8, 16, 4, planned={"en": 1.0}, link="bloomswarm:" + DIGEST)
    watch, now = Watch(facts), [0.0]
    watch.clock = lambda: now[0]
    for step in range(1, 6):
        now[0] = 10.0 * step
        watch.look({ODD: record(step, **odd), **{peer: record(step) for peer in OTHERS}})
    return watch


def test_the_live_view_fits_the_terminal_and_says_who_how_far_and_what_is_wrong() -> None:
    watch = watched(state_digest="f" * 16, digest_step=4)
    watch.look({ODD: record(6, state_digest="f" * 16, digest_step=4),
                **{peer: record(6, state_digest="0" * 16, digest_step=4) for peer in OTHERS}})  # fmt: skip
    value = watch.read(swarm_document)
    value["who"] = watch.read(lambda *seen: peers_document(*seen, None))["peers"]
    value["languages"] = watch.read(lambda view, now, found: languages_document(view, now))["languages"]
    drawn = screen(live_lines(value), columns=70, height=30, colours=False)
    assert "step 6 of 20" in drawn
    assert "en   8.00 →  3.00 █" in drawn, "each language with its curve"
    (row,) = [line for line in drawn.splitlines() if friendly_name(ODD) in line]
    assert row.removesuffix("\x1b[K").endswith("…"), "a row that is too long is cut"
    assert "another model than the majority" in drawn
    assert max(len(line.replace("\x1b[K", "").replace("\x1b[H", "")) for line in drawn.splitlines()[:-1]) <= 70
    assert drawn.startswith("\x1b[H")
    assert "\x1b[2J" not in drawn, "redrawn in place: it does not flicker"


def test_a_curve_of_any_length_keeps_its_ends() -> None:
    assert spark([3.0, 1.0]) == "█▁"
    assert spark([float(value) for value in range(1000)], 8) == "▁▂▃▄▅▆▇█"
    assert spark([1.0]) == ""


def test_an_alert_s_command_names_the_peers_from_the_monitor() -> None:
    server = Server(api_routes(watched(clock=5000.0)), 0)
    server.start()
    try:
        asked = run("status", "--problem", "clock-wrong", "--monitor", server.url)
        assert asked.returncode == 0, asked.stderr
        assert asked.stdout.startswith("clock-wrong (warning): A peer's clock is wrong")
        assert ODD in asked.stdout
        assert not any(peer in asked.stdout for peer in OTHERS)
        assert "docs/runbooks/clock-wrong.md" in asked.stdout
        told = json.loads(run("status", "--problem", "forked", "--monitor", server.url, "--json").stdout)
        assert (told["concerned"], told["words"]) == ([], None)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--problem", "nonsense"), 3, "one of: no-peers"),
        (("--problem", "forked", "--monitor", "http://127.0.0.1:9"), 7, "no monitor of this run answers"),
    ],
)
def test_a_wrong_word_and_a_monitor_that_is_not_there_are_one_line(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path
) -> None:
    assert words in assert_one_line(run("status", *arguments), code)


def test_the_swarms_problems_are_told_in_words() -> None:
    peer = {
        "folder": "/x/peer",
        "state": "paused",
        "status": "ok",
        "seconds_since_step": 4.0,
        "step": 16,
        "url": "http://127.0.0.1:1",
        "steps": [],
        "problems": ["no-trainers"],
        "advice": "go on with `bloomswarm resume`",
    }
    assert peer_line(peer) == (
        "peer: paused (ok), step 16, the last 4 s ago; http://127.0.0.1:1; the swarm: "
        "Nobody is training: there are peers, but none that trains. What to do: go on with `bloomswarm resume`"
    )
