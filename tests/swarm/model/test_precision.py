"""The precision is a fact of the hardware."""

from __future__ import annotations

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


def test_no_facts_no_flags(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / "absent") == set()
