"""The command line of a peer that trains on other samples than the plan gives it, and says nothing about it.

python -m tests.peers.reads_other_text COMMAND ...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from swarm.data.plan import Plan

HONEST = Plan.slots_of


def of_somebody_else(
    plan: Plan, roster: tuple[str, ...], peer_id: str, step: int, *worn: frozenset[str]
) -> Iterator[int]:
    return HONEST(plan, (), f"not {peer_id}", step, *worn)


if __name__ == "__main__":
    Plan.slots_of = of_somebody_else  # type: ignore[method-assign]
    from peers.cli import main

    main(sys.argv[1:])
