"""The swarm over hivemind: one process, one daemon, signed records, content-addressed blobs."""
