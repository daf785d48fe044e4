"""The precision is a fact of the hardware."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from swarm.model import precision
from swarm.model.precision import best_precision, cpu_flags


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", "bfloat16"),
        ("processor : 0\nFeatures\t: fp asimd bf16\n", "bfloat16"),
        ("processor : 0\nflags\t\t: fpu avx2\n", "float32"),
        ("", "float32"),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_where_it_has_units_for_it(
    facts: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(facts, encoding="ascii")
    flags = cpu_flags(path)
    monkeypatch.setattr(precision, "cpu_flags", lambda: flags)
    assert best_precision(torch.device("cpu")) == wanted


@pytest.mark.parametrize(("wanted", "expected"), [("cuda:0", "float16"), ("cuda:1", "bfloat16")])
def test_of_two_kinds_of_gpu_the_chosen_one_is_asked(
    wanted: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated at torch's own boundary: there is no GPU here."""
    current: list[torch.device] = []

    @contextmanager
    def entered(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", entered)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[-1].index == 1)
    assert best_precision(torch.device(wanted)) == expected


def test_no_facts_no_flags(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / "absent") == set()
