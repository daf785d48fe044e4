"""`python -m benchmarks.scale`: a round with 64, 1,000 and 10,000 peers, simulated: time, bytes, contacts, identity.

Two parts. *Arithmetic*: every peer's vector is really encoded, reduced and gathered through the levels with real
frames (a small vector, so that 10,000 peers fit), and all digests are compared. *Cost*: bytes in closed form for a
model of `--parameters`, control bytes from real messages, and links: each peer sends at most at its uplink's and
receives at most at its downlink's speed, spans stream through the stages, and each stage adds a one-way delay and one
span's time at its sender; the host, who is not chosen by speed, sends everyone's control bytes over a median uplink
before and after the values. No loss, no contention inside the network, no computing: a floor, not a forecast.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MIXES = {  # (uplink, downlink) in Mbit/s: share of the peers
    "20": {(20, 100): 1.0},
    "100": {(100, 250): 1.0},
    "mix": {(10, 50): 0.2, (20, 100): 0.4, (50, 250): 0.25, (100, 500): 0.1, (1000, 1000): 0.05},
    "mix, clients": {(10, 50): 0.2, (20, 100): 0.4, (50, 250): 0.25, (100, 500): 0.1, (1000, 1000): 0.05},
}
CLIENTS = 0.3  # of the peers in the last mix are behind a NAT that lets nobody in
SPAN = 2**18
HOPS = {1: 8, 2: 11}  # one-way delays: Call Ready Roster Part Mean Reduced Propose Vote+Commit; two levels: 3 more


@dataclass(frozen=True)
class Row:
    peers: int
    mix: str
    groups: int
    seconds: float
    equal_seconds: float  # with equal shares
    sent: float  # bytes a parameter, the most of a full peer
    received: float
    client: float
    contacts: int
    control_seconds: float  # of the round's time
    control_bytes: int
    host_bytes: int


def main(argv: Sequence[str] | None = None) -> dict:
    """Compute, print the tables, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    print(f"{'peers':>7}{'groups':>8}{'values':>8}{'digests':>9}{'error':>10}{'seconds':>9}")
    proofs = {peers: prove(peers, options.values, options.seed) for peers in options.peers}
    rows = [cost(peers, mix, options) for mix in MIXES for peers in options.peers]
    print(f"\n{options.parameters / 1e6:.0f}M parameters, int8-block@1, RTT {options.rtt * 1e3:.0f} ms")
    head = (
        "peers",
        "mix",
        "groups",
        "round s",
        "equal s",
        "sent",
        "received",
        "client",
        "contacts",
        "control s",
        "control",
        "host",
    )
    print("".join(f"{name:>13}" for name in head))
    for row in rows:
        print(
            f"{row.peers:13}{row.mix:>13}{row.groups:13}{row.seconds:13.1f}{row.equal_seconds:13.1f}{row.sent:13.3f}"
            f"{row.received:13.3f}{row.client:13.3f}{row.contacts:13}"
            f"{row.control_seconds:13.1f}{row.control_bytes:13,}{row.host_bytes:13,}"
        )
    print("sent, received, client: most bytes a parameter; control: most bytes of a member; host: sent by the busiest")
    result = {
        "identical": all(proof["digests"] == 1 for proof in proofs.values()),
        "relative_error": {str(peers): proof["relative_error"] for peers, proof in proofs.items()},
        "max_sent": max(row.sent for row in rows if not row.client and "mix" not in row.mix),
        "max_received": max(row.received for row in rows if not row.client and "mix" not in row.mix),
        "max_client": max(row.client for row in rows),
        "rows": [vars(row) for row in rows],
    }
    print(json.dumps(result))
    return result


def prove(peers: int, values: int, seed: int) -> dict:
    """Average `peers` vectors through the levels with real frames; how many digests, how far from the exact mean."""
    import hashlib

    import numpy as np

    from swarm.averaging.codec import codec_named
    from swarm.averaging.levels import arrange, exchange
    from swarm.averaging.round.assign import Carrier

    random, codec = np.random.default_rng(seed), codec_named("int8-block@1")
    levels = arrange([Carrier(20e6, full=True, gives=True)] * peers)
    signal = random.standard_normal(values, dtype=np.float32) * np.float32(0.05)
    weights = random.integers(1, 48, peers).astype(float)
    vectors, exact = [], np.zeros(values)
    for weight in weights:
        vectors.append(signal + random.standard_normal(values, dtype=np.float32))
        exact += vectors[-1].astype(np.float64) * (weight / weights.sum())
    begin = time.perf_counter()
    done = exchange(codec, levels, vectors, weights.tolist())
    seconds = time.perf_counter() - begin
    digests = {hashlib.sha256(b"".join(means)).hexdigest() for means in done.means}
    error = float(np.linalg.norm(_decoded(codec, levels, done.means[-1], values) - exact) / np.linalg.norm(exact))
    print(f"{peers:7}{len(levels.owners):8}{values:8}{len(digests):9}{error:10.5f}{seconds:9.1f}")
    return {"digests": len(digests), "relative_error": round(error, 6)}


def _decoded(codec, levels, frames: list, values: int):
    import numpy as np

    from swarm.averaging.codec import decode
    from swarm.averaging.levels import parts

    mean, left = np.empty(values, np.float32), iter(frames)
    for position, column in enumerate(levels.columns(values)):
        for part in parts(levels, column, position) if column.start < column.stop else ():
            if part.start < part.stop:
                mean[part] = decode(codec, next(left), part.stop - part.start)
    return mean


def cost(peers: int, mix: str, options: argparse.Namespace) -> Row:
    """One round of `peers` with links drawn from a mix, by bandwidth-weighed and, to compare, by equal shares."""
    import numpy as np

    from benchmarks.control import control
    from swarm.averaging.levels import arrange, traffic
    from swarm.averaging.round.assign import Carrier

    kinds = list(MIXES[mix])
    random = np.random.default_rng(options.seed)
    drawn = random.choice(len(kinds), peers, p=list(MIXES[mix].values()))
    links = [kinds[kind] for kind in drawn]
    full = random.random(peers) >= (CLIENTS if "clients" in mix else 0.0)
    roster = [Carrier(up * 1e6, full=bool(able), gives=True) for (up, _), able in zip(links, full, strict=True)]
    levels = arrange(roster)
    alike = arrange([Carrier(1e6, full=peer.full, gives=True) for peer in roster])
    moved, groups = traffic(levels), len(levels.owners)
    members = max(len(levels.members(group)) for group in range(groups))
    spans = max(-(-options.parameters // SPAN), groups * len(levels.fractions) if groups > 1 else 0)
    extra, uplink = control(members, groups, spans), median(up for up, _ in links) * 1e6

    def seconds(traffic_by_peer: dict) -> float:
        bits = 8 * options.parameters
        streams = [
            max(each.sent * bits / (links[i][0] * 1e6), each.received * bits / (links[i][1] * 1e6))
            for i, each in traffic_by_peer.items()
        ]
        stages = 2 if groups == 1 else 4
        fill = stages * 8 * options.parameters / spans / uplink
        return max(streams) + HOPS[1 if groups == 1 else 2] * options.rtt / 2 + fill + 8 * extra.host / uplink

    owning = {index for owners in levels.owners for index in owners}
    clients = [i for i, able in enumerate(full) if not able]
    return Row(
        peers=peers,
        mix=mix,
        groups=groups,
        seconds=round(seconds(moved), 1),
        equal_seconds=round(seconds(traffic(alike)), 1),
        sent=round(max(moved[i].sent for i in owning), 4),
        received=round(max(moved[i].received for i in owning), 4),
        client=round(max((moved[i].sent for i in clients), default=0.0), 4),
        contacts=levels.contacts,
        control_seconds=round(8 * extra.host / uplink, 1),
        control_bytes=extra.received + extra.sent,
        host_bytes=extra.host,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", type=int, nargs="+", default=[64, 1000, 10_000])
    parser.add_argument("--parameters", type=int, default=559_214_592, help="of the model (default BLOOM-560m)")
    parser.add_argument("--values", type=int, default=4096, help="of the vectors that are really averaged")
    parser.add_argument("--rtt", type=float, default=0.15, help="seconds (default 0.15)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
