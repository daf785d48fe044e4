"""The link that a newcomer is shown: the run's own, as long as one of its doors is somebody who is here.

Who is a seed is a stranger's word too. A false one can only keep a newcomer waiting: the link holds the run's digest.
"""

from __future__ import annotations

from dataclasses import replace

from monitoring.view.swarm import SwarmView
from swarm.address import doors_of
from swarm.errors import LinkError
from swarm.run.link import parse

MOST_DOORS, OF_ONE = 8, 3  # a link must stay one that can be pasted


def join_link(view: SwarmView) -> str:
    """`view.facts.link`; where none of its doors is announced any more, with those of seeds that are here in front."""
    try:
        link = parse(view.facts.link)
    except LinkError:
        return view.facts.link
    announced = {
        peer: doors_of(peer, known.record.addresses) for peer, known in view.known.items() if not known.departed
    }
    here = {door for doors in announced.values() for door in doors}
    seeds = [peer for peer in sorted(announced) if view.known[peer].record.role == "seed"]
    doors = [door for peer in seeds for door in announced[peer][:OF_ONE]][:MOST_DOORS]
    if not doors or here & set(link.peers):
        return view.facts.link
    return str(replace(link, peers=(*doors, *link.peers[:MOST_DOORS])))
