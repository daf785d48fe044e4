"""Conduct the demo: create a run, start its seed and its peers, follow them to the last step, evaluate, report."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from peers.demo.follow import Followed, run_to_end
from peers.demo.view import View
from peers.lifecycle import Leave, end_all
from swarm.errors import RunFailedError

START_SECONDS = 180.0
LEAVE_SECONDS = 4.0
MOST_RESTARTS = 20  # of one process; what is killed more often than that is meant to be dead


class Demo:
    """One demo in one folder: `run/` the run as its owner has it, `seed/` and `peer-N/` as each peer has it."""

    def __init__(
        self, *, folder: Path, peers: int, steps: int, data: Path | None, config: Path | None, quiet: bool
    ) -> None:
        self.folder = folder
        self.peers = peers
        self.steps = steps
        self.data = data.resolve() if data else None
        self.config = config
        self.view = View(quiet=quiet)
        self.followed: list[Followed] = []
        self.leave = Leave()

    def run(self) -> dict[str, Any]:
        """Train to the last step and return the report. Whatever happens, no process outlives this call."""
        started = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.leave:
            try:
                self.create()
                link = self.seed()
                self.train(link)
                self.finish()
                return self.report(time.monotonic() - started)
            finally:
                end_all([peer.process for peer in self.followed], LEAVE_SECONDS)
                self.view.close()

    def create(self) -> None:
        self.view.say("Creating the run: reading the text, training a tokenizer ...")
        arguments = ["create", str(self.config or "tiny"), "--dir", str(self.folder / "run")]
        arguments += ["--steps", str(self.steps)]
        if self.data:
            arguments += ["--data", str(self.data)]
        run_to_end("create", arguments, self.folder / "logs" / "create.log", lambda: self.leave)

    def seed(self) -> str:
        self.view.say("Starting the seed ...")
        arguments = ["seed", str(self.folder / "run"), "--listen", "/ip4/127.0.0.1/tcp/0", "--log-format", "json"]
        seed = Followed("seed", arguments, self.folder / "logs" / "seed.log")
        self.followed.append(seed)
        link = seed.wait_for("seeding", START_SECONDS, lambda: self.leave)["link"]
        self.view.say(f"Join link: {link}")
        return str(link)

    def train(self, link: str) -> None:
        self.view.say(f"Starting {self.peers} peers ...")
        threads = max(1, (os.cpu_count() or 1) // self.peers)
        for number in range(1, self.peers + 1):
            name = f"peer-{number}"
            arguments = ["join", link, "--yes", "--dir", str(self.folder / name), "--log-format", "json"]
            arguments += ["--listen", "/ip4/127.0.0.1/tcp/0", "--threads", str(threads)]
            arguments += ["--wait-for", str(self.peers), "--cache", str(self.folder / "cache")]
            if self.data:
                arguments += ["--data", str(self.data)]
            self.followed.append(Followed(name, arguments, self.folder / "logs" / f"{name}.log"))
        while not self.leave:
            self.revive()
            self.view.show(self.trainers, self.steps)
            if all(peer.ended for peer in self.trainers):
                return
            time.sleep(0.2)
        raise KeyboardInterrupt

    def revive(self) -> None:
        """Start again who was killed (by a person who tries it, or for want of memory): it goes on where it was."""
        for one in self.followed:
            if one.killed and one.restarts < MOST_RESTARTS:
                self.view.say(f"{one.name} was {one.last_words()}; it is started again and goes on where the swarm is.")
                one.again()

    @property
    def trainers(self) -> list[Followed]:
        return self.followed[1:]

    def finish(self) -> None:
        for peer in self.trainers:
            peer.reader.join(5)
        if not self.finishers:
            peer = self.trainers[0]
            raise RunFailedError(f"no peer reached the last step; {peer.name}: {peer.last_words()} (log: {peer.log})")
        for peer in self.trainers:
            if peer not in self.finishers:
                self.view.say(f"{peer.name} did not finish: {peer.last_words()} (log: {peer.log})")

    @property
    def finishers(self) -> list[Followed]:
        return [peer for peer in self.trainers if "finished" in peer.latest and peer.process.returncode == 0]

    def report(self, seconds: float) -> dict[str, Any]:
        from peers.demo.summary import loss_curve, parameter_drift

        self.view.say("Evaluating the model before and after ...")
        ends = [peer.latest["finished"] for peer in self.finishers]
        checkpoint = Path(ends[0]["checkpoint"])
        arguments = ["eval", str(checkpoint), "--against", "initial", "--limit", "6", "--samples", "3", "--json"]
        if self.data:
            arguments += ["--data", str(self.data)]
        evaluation = json.loads(
            run_to_end("eval", arguments, self.folder / "logs" / "eval.log", lambda: self.leave).splitlines()[-1]
        )
        losses = mean_losses(self.finishers)
        result = {
            "peers": self.peers,
            "finished": len(ends),
            "restarts": {one.name: one.restarts for one in self.followed if one.restarts},
            "steps": max(end["step"] for end in ends),
            "first_loss": losses[0] if losses else None,
            "last_loss": losses[-1] if losses else None,
            "losses": losses,
            "validation": {
                language: {"before": row["against"]["bits_per_byte"], "after": row["bits_per_byte"]}
                for language, row in evaluation["languages"].items()
            },
            "rounds": {
                "committed": sum(end["rounds"]["committed"] for end in ends),
                "missed": sum(end["rounds"]["missed"] for end in ends),
            },
            "bytes_per_parameter_per_step": bytes_per_parameter(ends),
            "parameter_digests": {end["peer_id"]: end["digest"] for end in ends},
            "parameter_drift": parameter_drift([Path(end["checkpoint"]) for end in ends]),
            "identical_required": bool(ends[0]["identical_required"]),
            "samples": [sample for sample in evaluation["samples"] if sample["checkpoint"] == str(checkpoint)],
            "wall_seconds": round(seconds, 1),
            "checkpoint": str(checkpoint),
        }
        loss_curve(self.finishers, self.folder / "loss.png")
        return result

    def verdict(self, result: dict[str, Any]) -> None:
        """RunFailedError where the result is not what it must be; called after the report is safely written."""
        digests = set(result["parameter_digests"].values())
        if result["identical_required"] and len(digests) > 1:
            raise RunFailedError(f"the replicas differ: {len(digests)} digests among {result['finished']} peers")
        if result["finished"] < self.peers:
            raise RunFailedError(f"{self.peers - result['finished']} of {self.peers} peers did not finish")


def mean_losses(peers: list[Followed]) -> list[float]:
    """Mean training loss per step over the peers that reported it (nats a token)."""
    by_step: dict[int, list[float]] = {}
    for peer in peers:
        for event in peer.steps:
            if event.get("loss") is not None:
                by_step.setdefault(event["step"], []).append(event["loss"])
    return [round(sum(losses) / len(losses), 4) for _, losses in sorted(by_step.items())]


def bytes_per_parameter(ends: list[dict[str, Any]]) -> dict[str, float]:
    """Bytes of averaging traffic, counted by each peer from what was sent, per parameter and step; mean over peers."""
    sent = received = 0.0
    for end in ends:
        work = end["parameters"] * max(1, end["rounds"]["committed"])
        sent += end["bytes"]["sent"] / work
        received += end["bytes"]["received"] / work
    return {"sent": round(sent / len(ends), 4), "received": round(received / len(ends), 4)}
