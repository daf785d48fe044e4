"""Kinds of faults; `registry` says how to add one."""

from swarm.averaging.simulation.faults import hardware, leaving, lies, links, peers
from swarm.averaging.simulation.faults.registry import FAULTS, fault

__all__ = ["FAULTS", "fault", "hardware", "leaving", "lies", "links", "peers"]
