"""The same bytes with other CPU capabilities, numpy switches and threads: what keeps replicas identical.

Each needs a process of its own, and most of that is importing torch: so one process an environment tells all digests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarm.update import golden
from tests.swarm.averaging.codec import golden as codec

ROOT = Path(__file__).resolve().parents[2]
MODEL = (
    "a37b748c6b4598e4a9e948d444a9cdeec7be0bffd00fb531af5add8cc5fef972"  # a change breaks every run begun from a seed
)
CODE = "from tests.swarm.test_identical import tell; tell(threads={threads}, model={model}, kernels={kernels})"


def switchable() -> str:
    """The SIMD extensions that numpy found here and can be told not to use."""
    return " ".join(np.show_config("dicts")["SIMD Extensions"].get("found", []))


ENVIRONMENTS = {
    "torch default": {"ATEN_CPU_CAPABILITY": "default"},
    "torch avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "numpy baseline": {"NPY_DISABLE_CPU_FEATURES": switchable()},
    "both": {"NPY_DISABLE_CPU_FEATURES": switchable(), "ATEN_CPU_CAPABILITY": "default"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "compiled": {},
    "compiled for any processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
}
WITH_MODEL = {"torch avx2", "both"}  # transformers takes as long to import as all else together


def model_digest() -> str:
    """Of the weights with which a small run starts."""
    from swarm.model.bloom import build_model
    from swarm.model.initial import vector_digest
    from swarm.model.layout import Layout
    from tests.swarm.model.test_bloom import SPEC

    return vector_digest(Layout.of(SPEC).gather(build_model(SPEC)))


def tell(*, threads: int, model: bool, kernels: bool) -> None:
    import torch

    from swarm import compiled

    torch.set_num_threads(threads)
    if kernels:
        assert compiled.ready()
    found = {"codec": codec.golden(), "update": golden.golden_digest()}
    print(json.dumps(found | ({"model": model_digest()} if model else {})))


def python(code: str, **extra: str) -> subprocess.CompletedProcess[str]:
    switches = ("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES")
    clean = {key: value for key, value in os.environ.items() if key not in switches}
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=clean | extra, check=False)


def test_the_digests_here() -> None:
    assert codec.golden() == codec.DIGEST
    golden.require_golden()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_same_digests_in(name: str) -> None:
    from tests.swarm.model.test_bloom import PINNED

    model = name in WITH_MODEL
    threads, kernels = 2 if name == "two threads" else 1, name.startswith("compiled")
    result = python(CODE.format(threads=threads, model=model, kernels=kernels), **ENVIRONMENTS[name])
    assert result.returncode == 0, result.stderr[-300:]
    wanted = {"codec": codec.DIGEST, "update": golden.DIGEST} | ({"model": PINNED} if model else {})
    assert json.loads(result.stdout) == wanted


def test_a_machine_that_flushes_denormals_is_refused() -> None:
    flush = "import torch; assert torch.set_flush_denormal(True)"
    result = python(f"{flush}; from swarm.update import golden; golden.require_golden()")
    assert "IncompatibleError: this machine's arithmetic gives" in result.stderr


def test_another_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "DIGEST", "0" * 64)
    with pytest.raises(golden.IncompatibleError, match="where every peer's gives 0000"):
        golden.require_golden()
