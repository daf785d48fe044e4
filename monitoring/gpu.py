"""NVIDIA's management library (NVML) through the optional package nvidia-ml-py: energy, memory and use of one GPU.

Optional, because most volunteers have none; never an error, because a peer must not stop training over its metrics.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MILLI = 1e-3


@dataclass(frozen=True)
class GpuReading:
    """None: this GPU or driver does not tell."""

    memory_used_bytes: float | None
    memory_total_bytes: float | None
    utilization_ratio: float | None


class Gpu:
    """library: the module `pynvml`, or what stands for it. index: as NVML counts, over all GPUs of the machine."""

    method = "nvml"

    def __init__(self, library: Any, index: int) -> None:
        self.library = library
        self.handle = library.nvmlDeviceGetHandleByIndex(index)
        self.last = self._millijoules()

    def read(self) -> Mapping[str, float]:
        """Joules since the last call. The counter restarts with the driver; what was used meanwhile is unknown."""
        now, before = self._millijoules(), self.last
        self.last = now
        if now is None or before is None or now < before:
            return {}
        return {"gpu": (now - before) * MILLI}

    def look(self) -> GpuReading:
        memory = self._ask(self.library.nvmlDeviceGetMemoryInfo)
        use = self._ask(self.library.nvmlDeviceGetUtilizationRates)
        return GpuReading(
            float(memory.used) if memory is not None else None,
            float(memory.total) if memory is not None else None,
            use.gpu / 100 if use is not None else None,
        )

    def _millijoules(self) -> int | None:
        return self._ask(self.library.nvmlDeviceGetTotalEnergyConsumption)

    def _ask(self, question: Any) -> Any:
        try:
            return question(self.handle)
        except self.library.NVMLError:
            return None  # older than Volta, or not for this user


def find_gpu(index: int, library: Any = None) -> Gpu | None:
    """The GPU, or None: no nvidia-ml-py, no driver, no such GPU."""
    try:
        library = library or importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
        return Gpu(library, index)
    except library.NVMLError:
        return None


def index_of(device: str, visible: str = "") -> int | None:
    """NVML's number of the GPU that torch calls `device`; `visible` is CUDA_VISIBLE_DEVICES, which renumbers for torch.

    None: not an NVIDIA GPU, or one that is named by its UUID, which we do not resolve.
    """
    if not device.startswith("cuda"):
        return None
    number = int(device.partition(":")[2] or 0)
    chosen = [each.strip() for each in visible.split(",") if each.strip()]
    if not chosen:
        return number
    return int(chosen[number]) if number < len(chosen) and chosen[number].isdecimal() else None
