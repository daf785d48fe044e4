"""The averaging round as a sans-IO core: `Peer.step(now, event) -> effects`. See docs/protocol.md.

In the order to read it in:

events        the whole interface to the world: what goes in, what comes out
messages      what peers say to one another; `reading` turns strangers' bytes into it
policy        every number, and the rule by which somebody stops waiting
certificate   who may vote and host, what makes a proposal and a certificate valid: pure functions
log           certified outcomes in order, and which of two lineages to be on
peer          one peer: its roles, its log, its time; `dispatch` brings them the messages
member, reducer, host    the three roles of a round, each with its states in its first lines
catch_up      following the log: applying, replaying, changing lineage, settling residuals

Smaller ones as they are met: `context` (what the roles share), `pledges`, `merkle`, `assign`.
"""
