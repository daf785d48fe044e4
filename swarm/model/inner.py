"""The inner optimizer of mode "local": one peer's own AdamW on its own copy of the parameters.

Private: nobody else ever sees its moments, so it need not round the same everywhere, and it may be whatever is fast and
small here: torch's fused AdamW, or bitsandbytes' with 8-bit moments where it was asked for and can be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from transformers import BloomForCausalLM

from swarm.errors import ResourceError
from swarm.model.layout import Layout
from swarm.model.memory import is_out_of_memory
from swarm.run.schema import OptimizerSpec
from swarm.run.sizing import show_bytes

Kind = Literal["adamw", "adamw-8bit"]
ADAMW_BYTES, ADAMW_8BIT_BYTES = 8, 2  # of the moments of a parameter


class InnerOptimizer:
    """AdamW over the model's parameters, with the run's betas, decay and clipping."""

    def __init__(self, model: BloomForCausalLM, layout: Layout, spec: OptimizerSpec, *, kind: Kind = "adamw") -> None:
        """kind "adamw-8bit": ResourceError where bitsandbytes is missing or has no kernel for the model's device."""
        self.model, self.layout, self.spec, self.kind = model, layout, spec, kind
        parameters = dict(model.named_parameters())
        self._parameters = [parameters[tensor.name] for tensor in layout.tensors]
        decayed = [parameters[tensor.name] for tensor in layout.tensors if tensor.is_matrix]
        plain = [parameters[tensor.name] for tensor in layout.tensors if not tensor.is_matrix]
        groups = [
            {"params": decayed, "weight_decay": spec.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self._optimizer = _maker(kind)(groups, lr=0.0, betas=(spec.beta1, spec.beta2), eps=spec.epsilon)
        self.steps = 0  # since the moments were last empty

    def step(self, gradient_scale: float, rate: float) -> None:
        """One update at learning rate `rate` from the gradients that lie in the parameters, times `gradient_scale`.

        ResourceError where the moments, which are made at the first one, do not fit.
        """
        gradients = [parameter.grad for parameter in self._parameters]
        norm = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])))
        norm *= gradient_scale
        clip = min(1.0, self.spec.clip_norm / norm) if norm > 0 else 1.0
        torch._foreach_mul_(gradients, gradient_scale * clip)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * self.warmth()
        try:
            self._optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ResourceError(self._no_room()) from None
        self.steps += 1

    def _no_room(self) -> str:
        size = show_bytes(self.layout.size * (ADAMW_BYTES if self.kind == "adamw" else ADAMW_8BIT_BYTES))
        smaller = "--inner-optimizer adamw-8bit, " if self.kind == "adamw" else ""
        return f"memory ran out for the optimizer's moments ({size}): use {smaller}another --device, or a smaller run"

    def warmth(self) -> float:
        """From nearly 0 to 1 over the first steps with empty moments: Adam's first directions are noise."""
        return min(1.0, (self.steps + 1) / REWARM_STEPS)

    def forget(self) -> None:
        """Empty moments: the parameters were replaced by somebody else's."""
        self._optimizer.state.clear()
        self.steps = 0

    def memory_bytes(self) -> int:
        """Of the moments."""
        return sum(
            value.numel() * value.element_size()
            for state in self._optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        )

    def vector(self) -> np.ndarray:
        """The parameters as a new (size,) float32 vector."""
        return self.layout.gather(self.model)


REWARM_STEPS = 10


def _maker(kind: Kind) -> Callable[..., Any]:
    if kind == "adamw":
        return lambda groups, **options: torch.optim.AdamW(groups, fused=True, **options)
    try:
        from bitsandbytes.optim import AdamW8bit
    except Exception as error:  # it fails in its own ways where it has no library for this machine
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        remedy = "install it (pip install bitsandbytes), or leave --inner-optimizer out"
        raise ResourceError(f"--inner-optimizer adamw-8bit needs bitsandbytes: {reason}; {remedy}") from None
    return AdamW8bit
