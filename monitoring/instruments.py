"""What a peer's exporter reads instead of being told: memory, processor, disk, GPU, energy."""

from __future__ import annotations

from pathlib import Path

from monitoring.energy import Meter, carbon_grams
from monitoring.gpu import Gpu
from monitoring.machine import Machine
from monitoring.series import Series


class Instruments:
    """Writes into `series` when it is asked to. folder: whose disk is meant. No energy before `measure_energy`."""

    def __init__(self, series: Series, folder: Path | None = None) -> None:
        self.series, self.machine = series, Machine(folder)
        self.meter: Meter | None = None
        self.gpu: Gpu | None = None
        self.grid_intensity = 0.0
        self.series.put("swarm_grid_intensity_grams_per_kilowatt_hour", 0)

    def measure_energy(self, meter: Meter, gpu: Gpu | None = None, grid_intensity: float | None = None) -> None:
        """From now on: what the meter and the GPU say. grid_intensity: g CO2 a kWh, None where the user set none."""
        self.meter, self.gpu, self.grid_intensity = meter, gpu, grid_intensity or 0.0
        self.series.put("swarm_grid_intensity_grams_per_kilowatt_hour", self.grid_intensity)

    def measure(self) -> None:
        reading = self.machine.read()
        self.series.put("swarm_memory_bytes", reading.memory_bytes)
        self.series.total("swarm_cpu_seconds_total", reading.cpu_seconds)
        self.series.put("swarm_disk_free_bytes", reading.disk_free_bytes)
        self.read_meter()
        if self.gpu is not None:
            look = self.gpu.look()
            self.series.put("swarm_gpu_memory_bytes", look.memory_used_bytes, kind="used")
            self.series.put("swarm_gpu_memory_bytes", look.memory_total_bytes, kind="total")
            self.series.put("swarm_gpu_utilization_ratio", look.utilization_ratio)

    def read_meter(self) -> None:
        """Joules since the start, by source and the method by which each is known."""
        if self.meter is None:
            return
        for (source, method), joules in self.meter.read().items():
            self.series.total("swarm_energy_joules_total", joules, source=source, method=method)
        self.series.total("swarm_carbon_grams_total", self.carbon_grams)

    @property
    def joules(self) -> dict[str, float]:
        """By source, so far."""
        return self.meter.by_source() if self.meter is not None else {}

    @property
    def carbon_grams(self) -> float:
        return carbon_grams(self.meter.total, self.grid_intensity) if self.meter is not None else 0.0
