"""The learning rate by global step: linear warm-up, then a cosine down to a fraction of the peak.

It counts certified steps, never time, so it is the same everywhere and after any restart.
"""

from __future__ import annotations

from swarm.run.schema import OptimizerSpec, OuterSpec
from swarm.update.exact import half_cosine


def learning_rate(spec: OptimizerSpec, step: int, total_steps: int) -> float:
    """The rate of the update that takes the state from `step` to `step + 1`, 0 <= step; `final_fraction` past the end.

    Warm-up reaches the peak at its last step and does not begin at zero (which would waste a step of the whole swarm).
    """
    assert step >= 0, f"step {step}"
    if step < spec.warmup_steps:
        return spec.learning_rate * ((step + 1) / spec.warmup_steps)
    decay_steps = max(1, total_steps - 1 - spec.warmup_steps)
    cosine = half_cosine(min(step - spec.warmup_steps, decay_steps), decay_steps)
    return spec.learning_rate * (spec.final_fraction + (1.0 - spec.final_fraction) * cosine)


def outer_rate(spec: OuterSpec, step: int, total_steps: int) -> float:
    """The outer rate of the update from `step` to `step + 1`: linear from the rate to `final_fraction` of it."""
    assert step >= 0, f"step {step}"
    done = min(step, total_steps - 1) / max(1, total_steps - 1)
    return spec.learning_rate * (1.0 - (1.0 - spec.final_fraction) * done)
