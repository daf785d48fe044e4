"""Does this machine round as every other one does? Asked once at start, before any state is touched.

A fixed vector with denormals, zeros, huge and tiny values goes through six updates; the result's digest is a constant.
A machine that flushes denormals, or a kernel that fuses operations, gives another one.
"""

from __future__ import annotations

import numpy as np

from swarm.averaging.mean import FloatMean
from swarm.errors import IncompatibleError
from swarm.model.initial import draw_normal, vector_digest
from swarm.run.schema import OptimizerSpec
from swarm.update.adamw import AdamW, Scalars
from swarm.update.clip import clip_factor
from swarm.update.schedule import learning_rate

SIZE = 5000  # not a multiple of any vector width or block
STEPS = 6
DIGEST = "53d35932a09286b16290335eb3969071ecbb97b913b5c1c21ad4aa87138c5adc"


def golden_digest(kernel: AdamW | None = None) -> str:
    """The digest of the golden updates through `kernel` (the reference kernel by default)."""
    kernel = kernel or AdamW([slice(0, 1234), slice(2000, 4321)])
    spec = OptimizerSpec(warmup_steps=2, clip_norm=1.0)
    vectors = (np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32))
    draw_normal(vectors[0], "golden parameters", 0.02)
    for step in range(STEPS):
        mean = FloatMean(golden_gradient(step), 1024, void={step % 3})
        clip = clip_factor(mean.squared_norm(), spec.clip_norm)
        scalars = Scalars.of(spec, step, learning_rate(spec, step, STEPS), clip)
        for span, gradient in mean.spans():
            if gradient is not None:
                kernel.update(span, gradient, vectors, scalars)
    return vector_digest(np.concatenate(vectors))


def golden_gradient(step: int) -> np.ndarray:
    """(SIZE,) float32: normal values over 40 powers of ten, some zeros, some denormals."""
    gradient = np.empty(SIZE, dtype=np.float32)
    draw_normal(gradient, f"golden gradient {step}", 1.0)
    with np.errstate(under="ignore"):
        gradient[::3] *= np.float32(1e-20)
        gradient[::7] *= np.float32(1e-38)
        gradient[::11] = 0.0
        if step % 2:
            gradient *= np.float32(1e-3)  # below the clipping norm
    return gradient


def require_golden() -> None:
    """IncompatibleError where the reference kernel does not give the reference's bytes."""
    found = golden_digest()
    if found != DIGEST:
        raise IncompatibleError(
            f"this machine's arithmetic gives {found[:16]} where every peer's gives {DIGEST[:16]} (denormals "
            "flushed, or another numpy?); install the versions of constraints.txt, or train on another machine"
        )
