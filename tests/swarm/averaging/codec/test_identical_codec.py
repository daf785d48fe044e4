"""One digest of frames, decoded values, norms, residuals and means over CPU capabilities, numpy's switches, threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarm.averaging.aggregator import WeightedMean, reduce_span
from swarm.averaging.codec import CODECS, PIECE, decode, encode_with_feedback, squares
from swarm.model.initial import draw_normal

ROOT = Path(__file__).resolve().parents[4]
SIZE = PIECE + 5003  # two pieces, the second no multiple of any block or vector width
DIGEST = "f70d37a2c0ecd1f87e060b945c03fa630c8bd625c9c4fcbddd6755bc88622c55"
CODE = (
    "import torch; torch.set_num_threads({threads}); "
    "from tests.swarm.averaging.codec.test_identical_codec import golden; print(golden())"
)


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
}


def vector(name: str) -> np.ndarray:
    """Normal values over 60 powers of ten, with zeros and denormals."""
    values = np.empty(SIZE, np.float32)
    draw_normal(values, f"golden codec {name}", 1.0)
    with np.errstate(under="ignore"):
        values[::5] *= np.float32(1e-20)
        values[1000:9000] *= np.float32(1e-38)
    values[20_000:30_000] *= np.float32(1e30)
    values[::13] = 0
    return values


def golden() -> str:
    """SHA-256 over everything that members compute from the same values and frames."""
    hasher = hashlib.sha256()
    for codec in CODECS:
        sent = []
        for sender in range(3):
            first = encode_with_feedback(codec, vector(f"{sender} first"), None)
            second = encode_with_feedback(codec, vector(f"{sender} second"), first.residual)
            hasher.update(second.frame)
            hasher.update(second.residual.astype("<u2").tobytes())
            sent.append((second.frame, 1.0 + sender))
        mean = reduce_span(codec, WeightedMean(), SIZE, sent, 6.0, residual=first.residual)
        hasher.update(mean.frame)
        hasher.update(mean.residual.astype("<u2").tobytes())
        hasher.update(decode(codec, mean.frame, SIZE).astype("<f4").tobytes())
        for sums in squares(codec, mean.frame, SIZE):
            hasher.update(sums.astype("<f8").tobytes())
    return hasher.hexdigest()


def test_the_digest_here() -> None:
    assert golden() == DIGEST


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_same_digest_in(name: str) -> None:
    switches = ("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES")
    clean = {key: value for key, value in os.environ.items() if key not in switches}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE.format(threads=2 if name == "two threads" else 1)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean | ENVIRONMENTS[name],
        check=False,
    )
    assert result.stdout.strip() == DIGEST, result.stderr[-300:]
