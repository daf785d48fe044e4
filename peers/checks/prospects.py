"""What taking part in a run would be like on this machine and this line: figures from what was measured, no promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarm.run.sizing import cpu_memory, host_memory, show_bytes, show_seconds, sizing

if TYPE_CHECKING:
    from swarm.network.sounding import Way
    from swarm.records import ProgressRecord
    from swarm.run.manifest import Manifest

KEPT_CHECKPOINTS, TOKEN_BYTES = 3, 4
FASTEST = 1e6  # samples a second that one peer's claim may add to the swarm's


@dataclass(frozen=True)
class Prospects:
    """copy_bytes: one encoded copy of the vector. peers: that train, us included. Mbit/s: None where not measured.

    step_seconds: of the swarm as it is, None where nobody trains. samples_per_second: ours and the others'.
    """

    copy_bytes: int
    state_bytes: int
    peers: int
    step_seconds: float | None
    others_per_second: float
    upload_mbit: float | None = None
    download_mbit: float | None = None
    own_per_second: float | None = None
    apply_seconds: float = 0.0  # of a round, on this machine

    @property
    def exchange_bytes(self) -> int:
        """Each way in a round, for a full peer among equals: its copy out and the others' in, the mean likewise."""
        others = max(self.peers, 2) - 1
        return 2 * self.copy_bytes * others // (others + 1)

    @property
    def exchange_seconds(self) -> float | None:
        """On the slower direction of this line."""
        if self.upload_mbit is None or self.download_mbit is None:
            return None
        return self.exchange_bytes * 8e-6 / min(self.upload_mbit, self.download_mbit)

    @property
    def state_seconds(self) -> float | None:
        """To download the run's state."""
        return None if self.download_mbit is None else self.state_bytes * 8e-6 / self.download_mbit

    @property
    def bytes_per_hour(self) -> float | None:
        """Each way; a swarm of one exchanges nothing."""
        period = max(self.step_seconds or 0.0, self.exchange_seconds or 0.0)
        return self.exchange_bytes * 3600 / period if period > 0 and self.step_seconds is not None else None

    @property
    def share(self) -> float | None:
        """Of the swarm's work."""
        if self.own_per_second is None:
            return None
        return self.own_per_second / (self.own_per_second + self.others_per_second)

    @property
    def can_follow(self) -> bool:
        """Whether a round has arrived and is applied before the next one: who cannot follow catches up for ever."""
        if self.step_seconds is None or self.download_mbit is None:
            return True
        return self.copy_bytes * 8e-6 / self.download_mbit + self.apply_seconds <= self.step_seconds

    @property
    def keeps_pace(self) -> bool:
        """Whether a whole exchange fits into the swarm's step."""
        return self.step_seconds is None or (self.exchange_seconds or 0.0) <= self.step_seconds

    def lines(self) -> list[str]:
        """For a volunteer, before the question."""
        if self.exchange_seconds is None or self.upload_mbit is None or self.download_mbit is None:
            return ["Your line  not measured: nobody answered"]
        lines = [
            f"Your line  {self.upload_mbit:.0f} Mbit/s up, {self.download_mbit:.0f} down, as measured with the swarm"
        ]
        lines.append(
            f"Exchange   about {show_seconds(self.exchange_seconds)} each, {show_bytes(self.exchange_bytes)} each way"
        )
        if self.bytes_per_hour is not None and self.step_seconds is not None:
            pace = f"a step of the swarm takes {show_seconds(self.step_seconds)} now"
            lines.append(f"Traffic    about {show_bytes(round(self.bytes_per_hour))} an hour each way; {pace}")
        if self.state_seconds is not None:
            lines.append(f"Download   {show_bytes(self.state_bytes)}, about {show_seconds(self.state_seconds)}")
        if not self.can_follow:
            lines.append(f"Beware     {self.too_slow()}")
        elif not self.keeps_pace:
            lines.append(
                "Beware     on this line an exchange takes longer than a step of the swarm: rounds will be missed"
            )
        return lines

    def too_slow(self) -> str:
        """Why this peer could never keep up, and what it can do instead."""
        step, arrives = self.step_seconds or 0.0, self.copy_bytes * 8e-6 / (self.download_mbit or 1.0)
        why = f"a round takes {show_seconds(arrives)} to arrive and {show_seconds(self.apply_seconds)} to apply here"
        why += f", and the swarm makes one in {show_seconds(step)}: this peer can never keep up"
        if self.apply_seconds > step:
            return f"{why}; help from a faster machine, also without a GPU: bloomswarm assist LINK"
        return f"{why}; use a faster line, or a run in mode local; a machine on a good line can help: assist LINK"

    def to_dict(self) -> dict[str, Any]:
        return {
            "exchange_bytes": self.exchange_bytes,
            "exchange_seconds": self.exchange_seconds,
            "bytes_per_hour": self.bytes_per_hour,
            "state_bytes": self.state_bytes,
            "state_seconds": self.state_seconds,
            "step_seconds": self.step_seconds,
            "apply_seconds": self.apply_seconds,
            "share": self.share,
        }


def prospects(
    manifest: Manifest,
    records: Mapping[str, ProgressRecord],
    ways: Sequence[Way] = (),
    own_per_second: float | None = None,
    apply_seconds: float = 0.0,
) -> Prospects:
    """records: what live peers say (hints, capped here). ways: as measured; the best of them is what the line gives."""
    from swarm.state.state_file import file_size

    size = sizing(manifest)
    trainers = [record for record in records.values() if record.role == "trainer" and record.state != "leaving"]
    speed = sum(min(record.samples_per_second, FASTEST) for record in trainers)
    due = manifest.training.samples_due(len(trainers))
    return Prospects(
        copy_bytes=size.bytes_per_exchange,
        state_bytes=file_size(manifest),
        peers=1 + len(trainers),
        step_seconds=due / speed if speed > 0 else None,
        others_per_second=speed,
        upload_mbit=max((way.upload_mbit for way in ways), default=None),
        download_mbit=max((way.download_mbit for way in ways), default=None),
        own_per_second=own_per_second,
        apply_seconds=apply_seconds,
    )


def memory_needed(manifest: Manifest, device: str | None) -> int:
    """Bytes of the host for one sample at a time, with what Python, torch and the daemon take.

    device: the kind of what computes; None: nothing is trained.
    """
    return cpu_memory(manifest, 1) if device == "cpu" else host_memory(manifest)


def disk_needed(manifest: Manifest) -> int:
    """Bytes: the checkpoints that are kept, another while it is written, what was given at them, the text as tokens."""
    from swarm.state.state_file import file_size

    tokens = sum(held.tokens for held in manifest.data.stock.values())
    given = KEPT_CHECKPOINTS * sizing(manifest).bytes_per_exchange
    return (KEPT_CHECKPOINTS + 1) * file_size(manifest) + given + TOKEN_BYTES * tokens
