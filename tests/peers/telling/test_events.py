"""A peer's own words: plain for people, JSON for programs, the last 200 on disk."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from peers.telling.events import KEPT, Events


def test_plain_words_for_a_person_and_json_for_a_program(tmp_path: Path) -> None:
    plain, machine = io.StringIO(), io.StringIO()
    Events("plain", tmp_path, plain, clock=lambda: 0.0)("step", "step 1/2: 3 samples", step=1)
    Events("json", tmp_path, machine, clock=lambda: 0.0)("step", "step 1/2: 3 samples", step=1)
    assert plain.getvalue().endswith(":00:00 step 1/2: 3 samples\n")
    assert json.loads(machine.getvalue()) == {"time": 0.0, "event": "step", "words": "step 1/2: 3 samples", "step": 1}


def test_a_warning_is_an_event_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Else it stands between them without a time, and among JSON lines as plain words."""
    stream = io.StringIO()
    events = Events("json", None, stream)
    logger = logging.getLogger("swarm.averaging.live.journal")
    with events.with_warnings():
        logger.warning("the log cannot be written: %s", "No space left")
        logger.info("nobody needs to read this")
        try:
            raise ValueError("a bug")
        except ValueError as error:
            logger.error("the round has stopped", exc_info=error)
    logger.warning("nobody listens any more")
    assert [json.loads(line)["words"] for line in stream.getvalue().splitlines()] == [
        "The log cannot be written: No space left",
        "The round has stopped",
    ]
    said = capsys.readouterr().err
    assert "ValueError: a bug" in said
    assert "No space left" not in said


def test_the_file_holds_the_last_events_and_never_grows_without_bound(tmp_path: Path) -> None:
    events = Events("plain", tmp_path, io.StringIO())
    for number in range(5 * KEPT + 7):
        events("step", "x", number=number)
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert KEPT <= len(lines) < 2 * KEPT
    assert json.loads(lines[-1])["number"] == 5 * KEPT + 6


def test_what_a_killed_process_said_outlives_the_start_of_the_next(tmp_path: Path) -> None:
    before = Events("plain", tmp_path, io.StringIO())
    for number in range(KEPT + 3):
        before("step", "x", number=number)
    with (tmp_path / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "st')  # killed while it wrote
    Events("plain", tmp_path, io.StringIO())("joined", "Joined.", number=-1)
    numbers = [json.loads(line)["number"] for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()]
    assert numbers == [*range(4, KEPT + 3), -1]


def test_every_line_says_of_which_run_step_and_round_it_is() -> None:
    said = io.StringIO()
    events = Events("json", None, said)
    events.about(run="3fa2b1", step=0, round=0)
    events("joined", "Joined.")
    events.about(step=4, round=5)
    events("note", "A round was missed.")
    events("step", "step 5", step=5)
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [(line["run"], line["step"], line["round"]) for line in lines] == [
        ("3fa2b1", 0, 0), ("3fa2b1", 4, 5), ("3fa2b1", 5, 5),
    ]  # fmt: skip


def test_a_full_disk_ends_the_file_and_not_the_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = io.StringIO()
    events = Events("plain", tmp_path / "absent" / "folder", said)
    (tmp_path / "absent").write_text("in the way", encoding="utf-8")
    events("step", "one")
    events("step", "two")
    assert said.getvalue().count("\n") == 2
    assert capsys.readouterr().err.count("is not written any more") == 1
