"""How many samples are computed at once: as many as fit, and fewer when memory runs out, instead of dying.

A volunteer's machine is used for other things too. So there are two signs: an allocation that failed (usual on a GPU),
and little memory left on the host (where Linux would not refuse, but kill).
"""

from __future__ import annotations

from collections.abc import Callable

import psutil
import torch

from swarm.errors import ResourceError

LEAST_FREE = 0.04  # of the host's memory: below it, and below LEAST_FREE_BYTES, a micro-batch shrinks
LEAST_FREE_BYTES = 512 << 20
NO_MEMORY = (  # of a processor; of a driver, which is no OutOfMemoryError; of a library that wants a workspace
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
PATIENCE = 8  # micro-batches between two shrinkings for the host's sake: freed memory shows late


class AgainError(Exception):
    """The sums of this step are spoiled: forget them and begin its samples again. Never reaches a user."""


class MemoryShortError(AgainError):
    """Because memory ran out: with fewer samples at once it may fit."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says that memory ran out, in any of its ways."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def host_free() -> tuple[int, int]:
    """(bytes a process can still get, bytes in all) of this machine."""
    memory = psutil.virtual_memory()
    return int(memory.available), int(memory.total)


def device_free(device: torch.device | None = None) -> int:
    """Bytes that this process can still get on a device; None: on the host."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device is not None and device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return host_free()[0]


class MicroBatch:
    """`size`: samples at once. It only ever shrinks."""

    def __init__(self, size: int, say: Callable[[str], None], free: Callable[[], tuple[int, int]] = host_free) -> None:
        assert size >= 1, size
        self.size = size
        self._say, self._free = say, free
        self._since = PATIENCE

    def shrink(self, why: str) -> None:
        """Half as many. ResourceError where one sample is already too many."""
        if self.size == 1:
            raise ResourceError(f"{why}, with one sample at a time: close other programs, or use a smaller run")
        self.size = (self.size + 1) // 2
        self._say(f"{why}: computing {self.size} samples at a time from now on.")

    def breathe(self) -> None:
        """Before each micro-batch: shrink where the host has little memory left. At one sample, hope."""
        self._since += 1
        available, total = self._free()
        short = available < min(LEAST_FREE * total, LEAST_FREE_BYTES)
        if short and self.size > 1 and self._since > PATIENCE:
            self._since = 0
            self.shrink(f"This machine has {available >> 20} MiB of memory left")
