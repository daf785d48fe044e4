"""Joules by source, always with the method by which they are known; carbon from a grid intensity that the user sets.

    nvml      the GPU's own energy counter                                          measured
    rapl      the processor's counters in /sys/class/powercap (often for root only) measured
    estimate  this process's share of the processor x a configured power            a guess, and called so

Counters are of the whole GPU and processor: of two peers on one machine each reports all of it. The estimate is only
of this process and is used only where the processor's counter cannot be read. Nothing is estimated for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

POWERCAP = Path("/sys/class/powercap")
MACHINE_WATTS = 65.0  # of the whole machine under full load, where the user does not say
REFRESH_SECONDS = 5.0
JOULES_PER_KILOWATT_HOUR = 3.6e6
MICRO = 1e-6

Known = tuple[str, str]  # source, method: a pair of the table


def since(before: int, now: int, wraps_at: int) -> int:
    """How far a counter that starts again at zero after `wraps_at` has come. One turn between two looks at the most."""
    return now - before if now >= before else now + wraps_at + 1 - before


def estimated_joules(cpu_seconds: float, cores: int, watts: float) -> float:
    """Energy of `cpu_seconds` of processor time on a machine that takes `watts` with all its cores busy."""
    return max(cpu_seconds, 0.0) / cores * watts


def carbon_grams(joules: float, grams_per_kilowatt_hour: float) -> float:
    return joules / JOULES_PER_KILOWATT_HOUR * grams_per_kilowatt_hour


class Source(Protocol):
    """Joules since the last call by source; empty where nothing can be read."""

    method: str

    def read(self) -> Mapping[str, float]: ...


@dataclass
class Zone:
    """One RAPL domain: its counter file, where it wraps, and what it said last (microjoules)."""

    source: str
    counter: Path
    wraps_at: int
    last: int


class Rapl:
    """Intel's and AMD's running average power limit counters, read through powercap.

    Packages count as cpu, their dram as memory. `core` and `uncore` are parts of a package and `psys` holds them all,
    so they are left out. https://docs.kernel.org/power/powercap/powercap.html
    """

    method = "rapl"

    def __init__(self, root: Path = POWERCAP) -> None:
        self.zones = list(_zones(root))

    def read(self) -> Mapping[str, float]:
        joules: dict[str, float] = {}
        for zone in self.zones:
            now = _number(zone.counter)
            if now is not None:
                gone = since(zone.last, now, zone.wraps_at) * MICRO
                joules[zone.source], zone.last = joules.get(zone.source, 0.0) + gone, now
        return joules


def _zones(root: Path) -> list[Zone]:
    found = []
    for folder in sorted(root.glob("intel-rapl:*")) if root.is_dir() else []:
        source = _source(folder)
        counter, wraps_at = folder / "energy_uj", _number(folder / "max_energy_range_uj")
        start = _number(counter) if source else None
        if source and start is not None and wraps_at:
            found.append(Zone(source, counter, wraps_at, start))
    return found


def _source(folder: Path) -> str | None:
    """What a zone measures: folders lie flat, a part is named after its package (intel-rapl:0:1)."""
    try:
        name = (folder / "name").read_text().strip()
    except OSError:
        return None
    if name.startswith("package"):
        return "cpu"
    return "memory" if name == "dram" else None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None  # no such counter, or not for this user


class Estimate:
    """cpu_seconds: processor time of this peer so far."""

    method = "estimate"

    def __init__(self, cpu_seconds: Callable[[], float], cores: int, watts: float = MACHINE_WATTS) -> None:
        assert cores >= 1
        self.cpu_seconds, self.cores, self.watts = cpu_seconds, cores, watts
        self.last = cpu_seconds()

    def read(self) -> Mapping[str, float]:
        now = self.cpu_seconds()
        joules = estimated_joules(now - self.last, self.cores, self.watts)
        self.last = now
        return {"machine": joules}


class Meter:
    """Adds up what the sources say. Called often (at each step), it looks only every few seconds.

    RAPL wraps within minutes on a big machine, so it must not wait for a scrape. clock: monotonic seconds.
    """

    def __init__(self, sources: tuple[Source, ...], clock: Callable[[], float]) -> None:
        self.sources, self.clock = sources, clock
        self.joules: dict[Known, float] = {}
        self._last: float | None = None

    def read(self) -> Mapping[Known, float]:
        """Joules since the start by (source, method)."""
        now = self.clock()
        if self._last is None or now - self._last >= REFRESH_SECONDS:
            self._last = now
            for each in self.sources:
                for source, joules in each.read().items():
                    known = source, each.method
                    self.joules[known] = self.joules.get(known, 0.0) + joules
        return self.joules

    def by_source(self) -> dict[str, float]:
        """The same without the methods: each source is known by one."""
        return {source: joules for (source, _), joules in self.joules.items()}

    @property
    def total(self) -> float:
        return sum(self.joules.values())


def sources(rapl: Rapl, estimate: Callable[[], Estimate], gpu: Source | None) -> tuple[Source, ...]:
    """What there is to read: the processor's counter, else the estimate; and the GPU's counter where there is one."""
    measured = any(zone.source == "cpu" for zone in rapl.zones)
    processor: Source = rapl if measured else estimate()
    return (processor, gpu) if gpu is not None else (processor,)
