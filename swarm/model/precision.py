"""In which precision a device should compute: a fact of the hardware, so that the same machine always chooses the same.

Weights, sums and the shared state are float32 everywhere; only matrix products run in the chosen precision (autocast).
"""

from __future__ import annotations

from pathlib import Path

import torch

from swarm.model.gradient import Precision

CPU_FACTS = Path("/proc/cpuinfo")
UNITS = {"amx_bf16", "avx512_bf16", "bf16"}  # of x86 and, the last one, of ARM


def best_precision(device: torch.device) -> Precision:
    """bfloat16 where the hardware multiplies it natively, float16 on older NVIDIA GPUs, else float32.

    Measured on a CPU with AVX-512 BF16, the demo's model, one thread: 61 ms a micro-batch against 100 in float32, and
    950 in float16, which CPUs emulate.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch answers for the current one, and a machine may have two kinds
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device.type == "cpu" and UNITS & cpu_flags():
        return "bfloat16"
    return "float32"


def cpu_flags(facts: Path = CPU_FACTS) -> set[str]:
    """What the first CPU says that it can do (Linux; elsewhere nothing is known)."""
    try:
        lines = facts.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set())
