"""The averaging round as a sans-IO core: `Peer.step(now, event) -> effects`. See docs/protocol.md.

A round without faults, with the places where it happens:

    Due            peer.due         the batch is full: the host of ballot 0 calls everyone
    Call, Ready    member.answer    encode, promise, say what will be given; host.on_ready collects
    Roster         host.assemble    who is in, and who reduces which span; member.send_parts streams the parts
    Part           reducer.on_part  held until all are in; reducer.reduce averages in roster order
    Mean, Reduced  reducer.on_computed    the mean to all, its digest to the host
    Propose        host.propose     one value for the whole round: a digest or void for every span
    Vote           member.vote      only with every byte here and no higher ballot promised
    Commit         host.on_vote     a quorum of votes; log.offer checks them; catch_up.apply applies, once, in order

In the order to read it in:

events        the whole interface to the world: what goes in, what comes out
messages      what peers say to one another; `reading` turns strangers' bytes into it
policy        every number, and the rule by which somebody stops waiting
certificate   who may vote and host, what makes a proposal and a certificate valid: pure functions
log           certified outcomes in order, and which of two lineages to be on
peer          one peer: its roles, its log, its time; `dispatch` brings them the messages
member, reducer, host    the three roles of a round, each with its states in its first lines
catch_up      following the log: applying, replaying, changing lineage, settling residuals

Smaller ones as they are met: `context` (what the roles share), `pledges`, `binding`, `succession`, `fetching`,
`assign`, `merkle`.
"""
