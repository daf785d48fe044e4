"""The live view of a demo: on a terminal one line a peer that changes in place, elsewhere one line a step."""

from __future__ import annotations

import sys
import time

from peers.demo.follow import Followed


class View:
    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.live = sys.stdout.isatty() and not quiet
        self.drawn = 0
        self.last_step = -1
        self.first_seen: float | None = None

    def say(self, words: str) -> None:
        """One plain line; it stays."""
        if not self.quiet:
            self._erase()
            print(words, flush=True)

    def show(self, peers: list[Followed], steps: int) -> None:
        """Redraw (terminal), or print the swarm's line when a new step is there (elsewhere)."""
        if self.quiet:
            return
        step = max((peer.steps[-1]["step"] for peer in peers if peer.steps), default=0)
        if step and self.first_seen is None:
            self.first_seen = time.monotonic()
        if self.live:
            self._erase()
            lines = [peer_line(peer) for peer in peers] + [swarm_line(peers, step, steps, self.first_seen)]
            print("\n".join(line[:120] for line in lines), flush=True)
            self.drawn = len(lines)
        elif step > self.last_step and step:
            self.last_step = step
            for peer in peers:
                print(peer_line(peer))
            print(swarm_line(peers, step, steps, self.first_seen), flush=True)

    def _erase(self) -> None:
        if self.drawn:
            sys.stdout.write(f"\x1b[{self.drawn}A\x1b[J")
            self.drawn = 0

    def close(self) -> None:
        self.drawn = 0


def peer_line(peer: Followed) -> str:
    if not peer.steps or not peer.fresh or (peer.ended and "finished" not in peer.latest):
        state = f"ended: {peer.last_words()}" if peer.ended else peer.state
        return f"  {peer.name:8} {state}"
    last = peer.steps[-1]
    loss = f"{last['loss']:.3f}" if last.get("loss") is not None else "-"
    return (
        f"  {peer.name:8} step {last['step']:4}  loss {loss:>7}  {last['samples_per_second']:6.1f} samples/s"
        f"  round {last['outcome']}{' (' + last['reason'] + ')' if last.get('reason') else ''}"
        f" with {last['group']} peers in {last['round_seconds']:.2f} s"
    )


def swarm_line(peers: list[Followed], step: int, steps: int, first_seen: float | None) -> str:
    training = sum(1 for peer in peers if peer.steps and peer.fresh and not peer.ended)
    rate = sum(peer.steps[-1]["samples_per_second"] for peer in peers if peer.steps and peer.fresh)
    losses = [peer.steps[-1]["loss"] for peer in peers if peer.steps and peer.steps[-1].get("loss") is not None]
    loss = f"{sum(losses) / len(losses):.3f}" if losses else "-"
    filled = round(24 * step / steps)
    left = ""
    if first_seen is not None and 1 < step < steps:
        left = f"  about {(time.monotonic() - first_seen) / (step - 1) * (steps - step):.0f} s left"
    return (
        f"  swarm    [{'#' * filled}{'.' * (24 - filled)}] step {step}/{steps}  loss {loss}"
        f"  {rate:.1f} samples/s  {training} training{left}"
    )
