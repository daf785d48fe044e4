"""The benchmark of size on few peers: one level and two, identical bytes, and the keys that others read."""

from __future__ import annotations

import json

import pytest

from benchmarks import scale
from benchmarks.control import control


def test_it_proves_identity_and_states_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    result = scale.main(["--peers", "8", "70", "--values", "20000"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == result
    assert result["identical"]
    assert all(error < 0.011 for error in result["relative_error"].values())
    assert result["max_sent"] <= 2.05
    assert result["max_received"] <= 2.05
    assert result["max_client"] <= 1.02
    rows = {(row["peers"], row["mix"]): row for row in result["rows"]}
    assert set(rows) == {(peers, mix) for peers in (8, 70) for mix in scale.MIXES}
    assert rows[8, "20"]["groups"] == 1 < rows[70, "20"]["groups"]
    assert rows[70, "mix"]["seconds"] < 0.8 * rows[70, "mix"]["equal_seconds"]
    assert 4.5 < rows[8, "20"]["seconds"] / rows[8, "100"]["seconds"] < 5.1


def test_control_grows_with_members_and_spans() -> None:
    small, more, finer = control(8, 1, 100), control(64, 1, 100), control(8, 1, 1000)
    assert small.received < more.received < 8 * small.received
    assert small.received < finer.received < 12 * small.received
    assert more.host > 8 * small.host
    assert control(8, 4, 100).received > small.received
