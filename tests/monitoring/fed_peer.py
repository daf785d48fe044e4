"""An exporter that was told everything a peer can tell."""

from __future__ import annotations

import tempfile
from pathlib import Path

from monitoring.exporter import PeerExporter, Text


def fed_exporter(steps: int = 3) -> PeerExporter:
    exporter = PeerExporter(run="ab" * 32, languages=("en", "hi"), planned_steps=40, folder=Path(tempfile.gettempdir()))
    exporter.round("missed", "timeout: 2 of 4 answered", seconds=5.0, bytes_sent=1000, bytes_received=900)
    for step in range(1, steps + 1):
        tell(exporter, step)
    exporter.rejected("signature", 2)
    exporter.coverage({"en": 0.25, "hi": 0.5}, overlap=3)
    exporter.checkpoint(saved=True)
    exporter.downloading(43, 100, donors=3)
    exporter.download(completed=True)
    exporter.agreement(True)
    exporter.clock_skew(-0.2)
    exporter.residual_norm(0.01)
    exporter.bytes_total("received", "directory", 12_000)
    exporter.series.total("swarm_energy_joules_total", 120.0, source="machine", method="estimate")
    return exporter


def tell(exporter: PeerExporter, step: int) -> None:
    """What one committed step tells."""
    exporter.state("training")
    exporter.live_peers({"trainer": 4, "seed": 1})
    exporter.direct_peers(3)
    exporter.round(
        "committed",
        seconds=0.4,
        group_size=4,
        samples=12,
        bytes_sent=1000,
        bytes_received=900,
        codec_error=0.011,
        codec_cosine=0.9999,
    )
    exporter.validation({"en": 1.9, "hi": 2.4}, step=40)
    exporter.arrival_spread(0.08)
    exporter.step(
        step,
        8.25,
        12,
        text={"en": Text(7, 700, 8.0), "hi": Text(5, 500, 8.5)},
        seconds={"compute": 1.0, "wait": 0.1, "average": 0.4, "apply": 0.05},
    )
