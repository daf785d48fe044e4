"""The round of `swarm.averaging.round` with real bytes: over the network, with real arithmetic, on a disk.

In the order to read it in:

averager      what the trainer's thread sees; `start` and `results` are what goes in and comes out
driver        the core's hands, in the network's loop: events in, effects out
giving, handover    the way from the trainer into the round, and of certified outcomes back to it
inbound, links      the ways from the other peers, checked, and to them
arithmetic    encode, average, settle residuals, in a thread of its own; `workers` has the threads
caller        when a round is due: `tally` adds up what all peers tell
store, journal, kept, residuals    what is on disk, and what of it survives a kill; `revival` goes on from there

Smaller ones as they are met: `terms` (sizes and places, from the manifest), `lag`, `figures`, `positions`, `proofs`.
"""
