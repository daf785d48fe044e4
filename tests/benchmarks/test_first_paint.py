"""Where there is no browser the benchmark goes on, and says loudly what it did not measure."""

from __future__ import annotations

import pytest

from benchmarks.first_paint import first_paint


def test_without_a_browser_it_says_that_it_measured_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert first_paint("http://127.0.0.1:9/")["first_paint_seconds"] is None
    assert "FIRST PAINT WAS NOT MEASURED: chromium is not installed" in capsys.readouterr().out
