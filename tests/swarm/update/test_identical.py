"""One digest over CPU capabilities, threads and numpy's own switches: what keeps replicas identical."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarm.errors import IncompatibleError
from swarm.update import golden

ROOT = Path(__file__).resolve().parents[3]
CODE = "import torch; torch.set_num_threads({threads}); from swarm.update import golden; print(golden.golden_digest())"
FLUSH = "import torch; assert torch.set_flush_denormal(True); from swarm.update import golden; golden.require_golden()"


def switchable() -> str:
    """The SIMD extensions that numpy found here and can be told not to use."""
    features = np.show_config("dicts")["SIMD Extensions"].get("found", [])
    return " ".join(features)


ENVIRONMENTS = {
    "torch default": {"ATEN_CPU_CAPABILITY": "default"},
    "torch avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "numpy baseline": {"NPY_DISABLE_CPU_FEATURES": switchable()},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2"},
}


def python(code: str, **extra: str) -> subprocess.CompletedProcess[str]:
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES")
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean | extra,
        check=False,
    )


def test_the_golden_vector_is_right_here() -> None:
    golden.require_golden()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_same_digest_in(name: str) -> None:
    threads = 2 if name == "two threads" else 1
    result = python(CODE.format(threads=threads), **ENVIRONMENTS[name])
    assert result.stdout.strip() == golden.DIGEST, result.stderr[-300:]


def test_a_machine_that_flushes_denormals_is_refused() -> None:
    result = python(FLUSH)
    assert "IncompatibleError: this machine's arithmetic gives" in result.stderr


def test_another_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "DIGEST", "0" * 64)
    with pytest.raises(IncompatibleError, match="where every peer's gives 0000"):
        golden.require_golden()
