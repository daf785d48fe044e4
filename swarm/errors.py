"""Every error a user can cause, and the exit code it ends with.

One tree, so that the command line renders all of them in one place (`peers/cli.py`) and a script can tell them
apart by exit code. `docs/exit-codes.md` has a paragraph on each; a test compares the two. A message says what
happened, the values, and what to do; it is one line.
"""

from __future__ import annotations

INTERRUPTED = 130


class SwarmError(Exception):
    """Something a user can understand and act on. Never raised for our own bugs (those are `assert`)."""

    exit_code = 1


class ConfigError(SwarmError):
    """A configuration, manifest or setting is malformed or contradictory."""

    exit_code = 3


class DataError(SwarmError):
    """Text is missing, empty, not UTF-8, or not what the manifest says it is."""

    exit_code = 4


class LinkError(SwarmError):
    """A join link is malformed or its signature or digest is wrong."""

    exit_code = 5


class IdentityError(SwarmError):
    """A key file is missing, unreadable, malformed, or already in use by another process."""

    exit_code = 6


class NetworkError(SwarmError):
    """No peer of the run could be reached, or the daemon could not start."""

    exit_code = 7


class CheckpointError(SwarmError):
    """A checkpoint is truncated, altered, or of another manifest."""

    exit_code = 8


class IncompatibleError(SwarmError):
    """This version or manifest cannot take part in the run."""

    exit_code = 9


class ResourceError(SwarmError):
    """This machine lacks something: a free port, disk space, memory, a device."""

    exit_code = 10


class RunFailedError(SwarmError):
    """The work was carried out and its result is not what it must be (for example: the replicas differ)."""

    exit_code = 11


class UninvitedError(SwarmError):
    """The run admits invited peers only, and this one is not, no longer, or was revoked."""

    exit_code = 13


class UnfitError(SwarmError):
    """`doctor` found something that must be fixed before this machine can join."""

    exit_code = 12


class EndedError(SwarmError):
    """The run has ended, and there is nothing left to take part in or to be had."""

    exit_code = 14
