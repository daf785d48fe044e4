"""The network of one peer: hivemind's daemon and DHT node in one event loop, in one thread of this process.

hivemind's own `DHT` forks a process that ignores Ctrl+C; `DHTNode` needs none. Everything public here may be called
from any thread; what runs inside the loop is in `engine` and what it holds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import uvloop

from swarm.address import port_of
from swarm.errors import NetworkError
from swarm.network.blobs import Progress
from swarm.network.caps import UNCAPPED, Caps
from swarm.network.counted import CountedP2P
from swarm.network.directory import KINDS, Directory, Record
from swarm.network.engine import Engine, Place
from swarm.network.guard import Guard
from swarm.network.pipe import Buffer
from swarm.network.reach import Outside, ask_outside
from swarm.network.seeds import check_seeds
from swarm.network.serving import Handler, Receiver
from swarm.network.sounding import Way, clock_of, measure
from swarm.network.streams import Channel, Streams
from swarm.network.traffic import Traffic
from swarm.trust.identity import Identity

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)
DHT_SECONDS = 15.0
CLOSE_SECONDS = 5.0
MEASURE_SECONDS = 120.0
T = TypeVar("T")
logger = logging.getLogger(__name__)


class Network:
    """Use as a context manager, or `start` and `close`.

    initial_peers: multiaddresses that end in /p2p/<peer id>; none: the first peer of a run. kinds: what may be
    published. direct: with peers of the same network also without the daemon (`Direct`). revivals: how often in a row a
    daemon that died is started again. first: no initial peer needs to answer.
    on_death: told, in the network's thread, when the daemon is gone for good.
    """

    def __init__(
        self,
        identity: Identity,
        run_digest: str,
        *,
        initial_peers: Sequence[str] = (),
        listen: Sequence[str] = LOOPBACK,
        announce: Sequence[str] = (),
        client: bool = False,
        kinds: tuple[str, ...] = KINDS,
        caps: Caps = UNCAPPED,
        direct: bool = True,
        revivals: int = 0,
        first: bool = False,
        on_death: Callable[[str], None] | None = None,
    ) -> None:
        self.identity = identity
        self.run_digest = run_digest
        self._place = Place(
            tuple(initial_peers), tuple(listen), tuple(announce), client, kinds, revivals, first=first, direct=direct
        )
        self._on_death = on_death
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="network", daemon=True)
        self._closing = False
        self._engine = Engine(identity, run_digest, self._place, caps, self._died)
        self._refused: Counter[str] = Counter()
        self.guard: Guard | None = None  # of a run that is not open

    @property
    def peer_id(self) -> str:
        return self.identity.peer_id

    @property
    def initial_peers(self) -> tuple[str, ...]:
        """The doors that were given to it."""
        return self._place.initial_peers

    @property
    def client(self) -> bool:
        """Whether this peer only dials out."""
        return self._place.client

    @property
    def traffic(self) -> Traffic:
        return self._engine.traffic

    @property
    def failure(self) -> str | None:
        """Why the daemon is gone, while it is."""
        return self._engine.failure

    @property
    def revived(self) -> int:
        """How often a daemon that died was started again."""
        return self._engine.revived

    @property
    def daemon_pid(self) -> int:
        """Of the daemon, which is a process of its own (for its memory and load)."""
        return self._engine.daemon.pid

    @property
    def p2p(self) -> CountedP2P:
        """hivemind's P2P on our daemon, for what is built on hivemind's own calls. Only in the network's loop."""
        return self._engine.p2p

    @property
    def streams(self) -> Streams:
        """For coroutines that run in the network's loop."""
        return self._engine.streams

    @property
    def directory(self) -> Directory:
        """Likewise."""
        return self._engine.directory

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Network:
        """Start the daemon, dial the seeds, join the DHT.

        ConfigError, LinkError: a malformed address. ResourceError: a port that is taken. NetworkError: no seed could
        be reached (the cause for each), or the daemon does not start.
        """
        check_seeds(self._place.initial_peers)
        logging.getLogger("hivemind").setLevel(logging.CRITICAL)  # it prints tracebacks for what strangers send
        self._thread.start()
        try:
            self._do(self._engine.start(), timeout_seconds=60.0)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End everything: daemon, port, sockets, thread. Safe to call twice and after a failed start."""
        if self._closing or not self._thread.is_alive():
            return
        self._closing = True
        try:
            closing = asyncio.run_coroutine_threadsafe(self._engine.stop(), self._loop)
            closing.result(CLOSE_SECONDS)
        except concurrent.futures.TimeoutError:
            logger.warning("the network did not close within %.0f s", CLOSE_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_SECONDS)

    def __enter__(self) -> Network:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- records ----------------------------------------------------------------------------------------------------

    def publish(self, kind: str, payload: bytes, ttl_seconds: float) -> bool:
        """Replace our signed record of `kind`; False where nobody stored it. It never expires before its forerunner."""
        return self.run(self._engine.directory.publish(kind, payload, ttl_seconds), DHT_SECONDS)

    def read(self, kind: str, seconds: float | None = None) -> list[Record]:
        """Everybody's live records of `kind`, ours too, by peer id."""
        return self.run(self._engine.directory.read(kind), DHT_SECONDS if seconds is None else seconds)

    # --- messages ---------------------------------------------------------------------------------------------------

    def handle(self, name: str, handler: Handler, *, limit_bytes: int, **more: Any) -> None:
        """Answer requests to `name`, as `Streams.handle`; the handler runs in the network's loop, and never blocks."""
        self.run(self.streams.handle(name, handler, limit_bytes=limit_bytes, **more), DHT_SECONDS)

    def receive(self, name: str, receiver: Receiver, *, limit_bytes: int, **more: Any) -> None:
        """Take one-way messages to `name`, as `Streams.receive`; the same conditions as for `handle`."""
        self.run(self.streams.receive(name, receiver, limit_bytes=limit_bytes, **more), DHT_SECONDS)

    def call(
        self,
        peer_id: str,
        name: str,
        request: Buffer,
        *,
        timeout_seconds: float = 10.0,
        limit_bytes: int = 1 << 20,
        purpose: str | None = None,
    ) -> bytearray:
        """The answer of `peer_id` to `request`. PeerError (a NetworkError) with its cause."""
        work = self.streams.call(
            peer_id, name, request, timeout_seconds=timeout_seconds, limit_bytes=limit_bytes, purpose=purpose
        )
        return self.run(work, timeout_seconds + 5.0)

    def open(self, peer_id: str, name: str, *, purpose: str | None = None) -> Channel:
        """A one-way channel; its methods are coroutines for `run`."""
        return self.run(self.streams.open(peer_id, name, purpose=purpose), 15.0)

    # --- blobs ------------------------------------------------------------------------------------------------------

    def serve(self, digest: str, content: bytes | Path) -> None:
        """Serve content under its SHA-256 (hex) for as long as this network lives."""
        self._loop.call_soon_threadsafe(self._engine.blobs.serve, digest, content)

    def withdraw(self, digest: str) -> None:
        self._loop.call_soon_threadsafe(self._engine.blobs.withdraw, digest)

    def fetch(
        self,
        digest: str,
        limit_bytes: int,
        from_peers: Sequence[str] | None = None,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
    ) -> bytes:
        """The content of `digest`, verified. from_peers: whom to ask, in order; None: seeds, then everybody known."""
        return self.run(self._engine.fetch(digest, limit_bytes, from_peers, progress), timeout_seconds)

    # --- what is known ----------------------------------------------------------------------------------------------

    def addresses(self) -> list[str]:
        """Multiaddresses under which this peer can be dialled, each ending in /p2p/<our id>."""
        return self.run(self._engine.addresses(), DHT_SECONDS)

    def note_addresses(self, peer_id: str, addresses: Sequence[str]) -> None:
        """What a peer has signed of where it is: there it is dialled where it is not found otherwise."""
        self._engine.streams.book.note(peer_id, addresses)

    def connected(self) -> list[str]:
        """Ids of the peers with an open connection."""
        return self.run(self._engine.connected(), DHT_SECONDS)

    def direct_peers(self) -> list[str]:
        """Ids of the peers that are sent gradients past the daemon."""
        direct = self.streams.direct
        return [] if direct is None else direct.peers()

    def meet(self, addresses: Sequence[str]) -> dict[str, str | None]:
        """Dial peers, all at once; each address with the cause of its failure, or None where its peer answered."""
        check_seeds(addresses)
        return self.run(self._engine.meet(addresses), 2 * DHT_SECONDS)

    def measure(self, peer_id: str) -> Way:
        """Round trip, speed each way and clock of a peer, as seen from here. PeerError where it does not answer."""
        return self.run(measure(self.streams, peer_id), MEASURE_SECONDS)

    def clock_of(self, peer_id: str) -> float:
        """Seconds that a peer's clock is ahead of ours. PeerError where it does not answer."""
        return self.run(clock_of(self.streams, peer_id), DHT_SECONDS)

    def seen_by(self, peer_id: str, ports: Sequence[int] | None = None) -> Outside:
        """Let a peer dial us back, at these ports or those we listen on. PeerError where it does not answer."""
        known = ports if ports is not None else [port_of(address) for address in self.addresses()]
        wanted = list(dict.fromkeys(port for port in known if port is not None))
        return self.run(ask_outside(self.streams, peer_id, wanted), DHT_SECONDS + 5.0)

    def reject(self, reason: str) -> None:
        """Count something that a stranger sent and that did not pass a check further up."""
        self._refused[reason] += 1

    def rejected(self) -> Counter[str]:
        """What strangers did wrong and was refused, by reason."""
        return self._refused + self._engine.rejected()

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T], timeout_seconds: float | None = None) -> T:
        """Run a coroutine in the network's loop and wait for it. NetworkError: the daemon is gone, or a timeout."""
        if self.failure is not None or self._closing:
            work.close()
            raise NetworkError(f"{self.failure or 'the network is closed'}; start this peer again")
        return self._do(work, timeout_seconds)

    def _do(self, work: Coroutine[Any, Any, T], timeout_seconds: float | None) -> T:
        assert threading.current_thread() is not self._thread, "await it instead"
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_seconds)
        except concurrent.futures.TimeoutError:
            raise NetworkError(f"the network gave no answer within {timeout_seconds:.0f} s; see `status`") from None
        except concurrent.futures.CancelledError:
            raise NetworkError(f"{self.failure or 'the network is closed'}; start this peer again") from None
        finally:
            future.cancel()

    def _died(self, reason: str) -> None:
        if self._on_death is not None and not self._closing:
            self._on_death(reason)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
