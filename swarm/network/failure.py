"""What can go wrong with a peer that is asked, as one error with a cause."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from swarm.errors import NetworkError
from swarm.network.causes import dial_cause
from swarm.network.pipe import DaemonError

Cause = Literal["unreachable", "refused", "timeout", "too-large", "closed"]


class PeerError(NetworkError):
    """A peer could not be asked or did not answer as it should. `cause` is fit to be a metric's label."""

    def __init__(self, peer_id: str, cause: Cause, detail: str) -> None:
        super().__init__(f"peer {peer_id} {cause}: {detail}; another peer may be tried")
        self.peer_id = peer_id
        self.cause: Cause = cause
        self.detail = detail


class RefusedError(Exception):
    """Raised by a handler: the caller gets the text (PeerError "refused"), nothing is logged."""


@contextlib.contextmanager
def failures(peer_id: str, timeout_seconds: float) -> Iterator[None]:
    """Everything that can go wrong with one peer, as one error."""
    try:
        yield
    except TimeoutError:
        raise PeerError(peer_id, "timeout", f"no answer within {timeout_seconds:.0f} s") from None
    except DaemonError as error:
        raise PeerError(peer_id, "unreachable", dial_cause(str(error))) from None
    except (EOFError, OSError) as error:
        raise PeerError(peer_id, "closed", str(error) or "the stream ended") from None
