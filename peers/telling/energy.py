"""By which method a peer knows what energy it takes: the best that this machine offers. The metric says which."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from monitoring.energy import MACHINE_WATTS, Estimate, Meter, Rapl, sources
from monitoring.gpu import find_gpu, index_of

if TYPE_CHECKING:
    from monitoring.instruments import Instruments
    from swarm.settings import Settings


def measure_energy(instruments: Instruments, settings: Settings) -> None:
    """The GPU that this peer computes on, and the processor: counted where that can be, else estimated."""
    device = settings.device if settings.device != "auto" else "cuda:0"
    index = index_of(device, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    gpu = find_gpu(index) if index is not None else None
    cores, watts, machine = os.cpu_count() or 1, settings.machine_watts or MACHINE_WATTS, instruments.machine
    known = sources(Rapl(), lambda: Estimate(lambda: machine.read().cpu_seconds, cores, watts), gpu)
    instruments.measure_energy(Meter(known, time.monotonic), gpu, settings.grid_grams_per_kwh)
