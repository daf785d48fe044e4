"""`python -m peers` is `bloomswarm`: used where a process must start another with the very same interpreter."""

from peers.cli import main

main()
