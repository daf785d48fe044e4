"""What training a configuration would be on this very machine: memory, seconds a step, bytes an hour.

Speed is measured, with one micro-batch of the real model where it fits into memory; the rest are closed forms. A test
compares all of it with a peer that trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from swarm.run.sizing import cpu_memory, show_bytes, show_seconds, sizing

if TYPE_CHECKING:
    from swarm.run.schema import RunConfig
    from swarm.settings import Settings

PEERS = 4  # of the swarm that is imagined, each like this machine
Measure = Callable[["RunConfig", "Settings"], float]


@dataclass(frozen=True)
class Outlook:
    """samples: computed at once. Seconds and bytes (each way) are None where the model does not fit here."""

    samples: int
    memory_bytes: int
    free_bytes: int
    samples_per_second: float | None
    tokens_per_second: float | None
    step_seconds: float | None
    bytes_per_hour: float | None
    round_seconds: float | None = None  # of a step: what a round computes

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"peers": PEERS}

    def lines(self) -> list[str]:
        """What `create --dry-run` prints below the figures of the configuration."""
        held = f"{show_bytes(self.memory_bytes)} of memory, computing {self.samples} samples at a time"
        lines = [f"here         {held} ({show_bytes(self.free_bytes)} are free)"]
        if self.tokens_per_second is None or self.step_seconds is None or self.bytes_per_hour is None:
            return [*lines, "             too large for this machine: its speed was not measured"]
        pace = f"{self.tokens_per_second:,.0f} tokens/s; {PEERS} such peers: {show_seconds(self.step_seconds)} a step"
        return [*lines, f"             {pace}, {show_bytes(round(self.bytes_per_hour))} an hour each way"]


def outlook(config: RunConfig, settings: Settings, measure: Measure | None = None) -> Outlook:
    """Measure this machine. ConfigError and ResourceError as for a peer."""
    from peers.checks.pace import round_seconds, samples_per_second
    from peers.wiring import micro_batch
    from swarm.model.memory import host_free

    samples, free = micro_batch(config, settings, lambda words: None).size, host_free()[0]
    memory = cpu_memory(config, samples, checkpointing=settings.gradient_checkpointing)
    rate = (measure or samples_per_second)(config, settings) if memory <= free else None
    computed = round_seconds(config, PEERS) if rate else None
    seconds = config.training.samples_due(PEERS) / (PEERS * rate) + (computed or 0.0) if rate else None
    return Outlook(
        samples=samples,
        memory_bytes=memory,
        free_bytes=free,
        samples_per_second=rate,
        tokens_per_second=rate * config.model.sequence_length if rate else None,
        step_seconds=seconds,
        bytes_per_hour=exchanged(config) * 3600 / seconds if seconds else None,
        round_seconds=computed,
    )


def exchanged(config: RunConfig) -> int:
    """Bytes that a peer sends in a round among equals, and as many that it receives."""
    return 2 * sizing(config).bytes_per_exchange * (PEERS - 1) // PEERS
