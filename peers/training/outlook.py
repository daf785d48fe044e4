"""What training a configuration would be on this very machine: memory, seconds a step, bytes an hour.

Speed is measured on the device that a peer would compute on, with one micro-batch of the real model where it fits into
memory; the rest are closed forms. A test compares all of it with a peer that trains, on a processor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from swarm.run.sizing import cpu_memory, device_memory, host_memory, show_bytes, show_seconds, sizing

if TYPE_CHECKING:
    import torch

    from swarm.run.schema import RunConfig
    from swarm.settings import Settings

PEERS = 4  # of the swarm that is imagined, each like this machine
Measure = Callable[["RunConfig", "Settings"], float]
Free = Callable[["torch.device | None"], int]  # bytes that can still be had of a device's memory; None: the host's


@dataclass(frozen=True)
class Outlook:
    """samples: computed at once. Seconds and bytes (each way) are None where the model does not fit here.

    memory_bytes, free_bytes: of the host. device_...: of a GPU's own memory; None where a processor computes.
    """

    device: str
    samples: int
    memory_bytes: int
    free_bytes: int
    device_memory_bytes: int | None = None
    device_free_bytes: int | None = None
    samples_per_second: float | None = None
    tokens_per_second: float | None = None
    step_seconds: float | None = None
    bytes_per_hour: float | None = None
    round_seconds: float | None = None  # of a step: what a round computes

    @property
    def fits(self) -> bool:
        own, own_free = self.device_memory_bytes or 0, self.device_free_bytes or 0
        return self.memory_bytes <= self.free_bytes and own <= own_free

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"peers": PEERS}

    def needs(self) -> str:
        """Memory, as far as this machine has it."""
        host = f"{show_bytes(self.memory_bytes)} of memory ({show_bytes(self.free_bytes)} are free)"
        if self.device_memory_bytes is None or self.device_free_bytes is None:
            return host
        own = (
            f"{show_bytes(self.device_memory_bytes)} of its own memory ({show_bytes(self.device_free_bytes)} are free)"
        )
        return f"{own}, and {host}"

    def lines(self) -> list[str]:
        """What `create --dry-run` prints below the figures of the configuration."""
        at_once = f"{self.samples} sample{'' if self.samples == 1 else 's'} at a time"
        lines = [f"here         on {self.device}, {at_once}: {self.needs()}"]
        if self.tokens_per_second is None or self.step_seconds is None or self.bytes_per_hour is None:
            return [*lines, f"             too large for {self.device} here: its speed was not measured"]
        pace = f"{self.tokens_per_second:,.0f} tokens/s as measured on {self.device}"
        swarm = f"{PEERS} such peers: {show_seconds(self.step_seconds)} a step"
        return [*lines, f"             {pace}; {swarm}, {show_bytes(round(self.bytes_per_hour))} an hour each way"]


def outlook(
    config: RunConfig,
    settings: Settings,
    measure: Measure | None = None,
    *,
    device: torch.device | None = None,
    free: Free | None = None,
) -> Outlook:
    """Measure this machine. device: None: the one that the settings choose. Errors as of a peer."""
    from peers.checks.pace import round_seconds, samples_per_second
    from peers.training.device import choose_device

    device = device or choose_device(settings.device, lambda words: None)
    there = _room(config, settings, device, free)
    rate = (measure or samples_per_second)(config, settings) if there.fits else None
    computed = round_seconds(config, PEERS) if rate else None
    seconds = config.training.samples_due(PEERS) / (PEERS * rate) + (computed or 0.0) if rate else None
    return replace(
        there,
        samples_per_second=rate,
        tokens_per_second=rate * config.model.sequence_length if rate else None,
        step_seconds=seconds,
        bytes_per_hour=exchanged(config) * 3600 / seconds if seconds else None,
        round_seconds=computed,
    )


def _room(config: RunConfig, settings: Settings, device: torch.device, free: Free | None) -> Outlook:
    """What it takes, and what there is; nothing is measured yet."""
    from peers.wiring import micro_batch, moments_bytes
    from swarm.model.memory import device_free

    free, checkpointing, there = free or device_free, settings.gradient_checkpointing, (free or device_free)(None)
    if device.type == "cpu":
        samples = micro_batch(config, settings, _quiet, free=there).size
        return Outlook("cpu", samples, cpu_memory(config, samples, checkpointing=checkpointing), there)
    left = free(device) - device_memory(config, 0) + moments_bytes(config, settings)  # which it takes off itself
    samples = micro_batch(config, settings, _quiet, device=device, free=left).size
    own = device_memory(config, samples, checkpointing=checkpointing)
    return Outlook(str(device), samples, host_memory(config), there, own, free(device))


def _quiet(words: str) -> None:
    """How many samples are computed at once is told with everything else."""


def exchanged(config: RunConfig) -> int:
    """Bytes that a peer sends in a round among equals, and as many that it receives."""
    return 2 * sizing(config).bytes_per_exchange * (PEERS - 1) // PEERS
