"""Taking the shared state from peers that are ahead: from several at once, and from what is on this disk already.

What is taken is believed because most of an electorate has signed its root in the log, never because of who gave it.
What has come is kept in `download/` under its root, so that a peer that was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from peers.state.checkpoint_donor import OFFERS, PURPOSE, REQUEST, SPANS, TABLE, TABLE_HEAD, parse_table
from peers.state.coming import ToFile, ToState
from peers.state.pin import Pin, require_pinned
from swarm.errors import CheckpointError, NetworkError, ResourceError
from swarm.network.conversations import Conversations
from swarm.network.download import Download, Memory, reason_of
from swarm.network.streams import PeerError
from swarm.state.checkpoint import saved, state_file_of
from swarm.state.span_file import SpanFile, span_of, spans_with

if TYPE_CHECKING:
    from swarm.averaging.live.positions import CertifiedState
    from swarm.averaging.live.terms import Terms
    from swarm.averaging.round.certificate import Position
    from swarm.network.host import Network
    from swarm.run.manifest import Manifest
    from swarm.state.shared import SharedState

FOLDER = "download"
OFFER_BYTES = 16_384
OFFER_SECONDS, TABLE_SECONDS, TELL_SECONDS = 8.0, 60.0, 0.25
ASKED = 32  # donors asked what they have
TABLE_PIECE_BYTES = 1 << 20


class Watch(Protocol):
    """Is told how a download goes. Called in the network's thread."""

    def downloading(self, done: int, total: int, donors: int) -> None: ...

    def gave_up(self, donor: str, reason: str, detail: str) -> None: ...


class Certain(Protocol):
    """Knows the log, and so which states are the run's."""

    @property
    def terms(self) -> Terms: ...

    def wanted(self) -> list[CertifiedState]: ...

    def oldest(self) -> int:
        """The earliest round from whose state the log can still be followed."""
        ...

    def position(self) -> Position: ...


@dataclass(frozen=True)
class Table:
    """What a state consists of: checked against a root that is believed."""

    root: bytes
    step: int
    samples: int
    digests: tuple[bytes, ...]


class StateFetcher:
    """Finds a state that the log certifies: on this disk, else at other peers. folder: this peer's."""

    def __init__(
        self,
        network: Network,
        manifest: Manifest,
        averager: Certain,
        folder: Path,
        *,
        watch: Watch,
        leaving: Callable[[], object] = bool,
        pin: Pin | None = None,
    ) -> None:
        self.network, self.manifest, self.averager, self.folder = network, manifest, averager, folder
        self.watch, self.leaving, self.pin = watch, leaving, pin
        self.start = averager.position().round
        self.liars: set[str] = set()  # gave bytes that are not what they should be: not asked again

    def fetch(self, donors: Sequence[str], state: SharedState, initial: Callable[[], SharedState]) -> bytes:
        """Make `state` the newest certified one that can be had; its head of the log.

        NetworkError where none can be had now. LinkError: not the run that the link pins. ResourceError: a full disk.
        """
        wanted = self.averager.wanted()
        require_pinned(self.pin, wanted, self.start)
        if not wanted:
            raise NetworkError("no state of the run is certified yet; it will be within a few rounds")
        wanted = self._of_use(wanted)
        causes: list[str] = []
        offers: dict[str, dict[str, str]] | None = None
        for each in self._in_order(wanted):
            if each.step == 0:
                state.adopt(initial())
                return each.head
            if self._from_disk(each, state):
                return each.head
            if offers is None:
                offers = self.network.run(self._ask_around(donors))
            having = [donor for donor, offered in offers.items() if offered.get(each.head.hex()) == each.root.hex()]
            try:
                self._take(each, having, state, initial)
                return each.head
            except NetworkError as error:
                causes.append(f"step {each.step}: {error}")
            if self.leaving():
                break
        raise NetworkError(f"no peer could give a certified state ({'; '.join(causes[:3])})")

    def _of_use(self, wanted: Sequence[CertifiedState]) -> list[CertifiedState]:
        """Those from which the swarm can be followed: the means of the rounds after an older one are kept by nobody.

        Where the newest cannot be had just now, an older one would be taken, and then the next older, for ever.
        """
        oldest = self.averager.oldest()
        found = [each for each in wanted if each.step >= oldest]
        if not found:
            raise NetworkError(
                f"the newest certified state is that of step {wanted[0].step}, too old to follow the swarm from; "
                "the next one will be within a few rounds"
            )
        return found

    def _in_order(self, wanted: Sequence[CertifiedState]) -> list[CertifiedState]:
        """Newest first; before it the one after it, if part of that is here already."""
        begun = [each for each in wanted[:2] if self._place(each.root).exists()]
        return [*begun, *(each for each in wanted if each not in begun)]

    def _place(self, root: bytes) -> Path:
        return self.folder / FOLDER / f"{root.hex()}.safetensors"

    # --- this disk ---------------------------------------------------------------------------------------------------

    def _checkpoints(self, step: int) -> list[Path]:
        return [state_file_of(path) for path in saved(self.folder / "checkpoints") if int(path.name[5:]) == step]

    def _from_disk(self, wanted: CertifiedState, state: SharedState) -> bool:
        """Whether the state was here: as a checkpoint, or downloaded by a process that died."""
        for path in [*self._checkpoints(wanted.step), self._place(wanted.root)]:
            try:
                with SpanFile.open(self.manifest, path) as file:
                    if file.root() == wanted.root:
                        self._load(file, state)
                        return True
            except (OSError, CheckpointError):
                continue  # not here, or damaged: it is fetched
        return False

    def _load(self, file: SpanFile, state: SharedState) -> None:
        try:
            file.load(state)
        except OSError as error:
            raise ResourceError(f"{file.path} cannot be read: {error.strerror}; check this disk") from None
        self._clear()

    def _clear(self, but: Path | None = None) -> None:
        """Remove downloads that nobody will go on with."""
        for path in (self.folder / FOLDER).glob("*"):
            if path != but:
                path.unlink(missing_ok=True)

    def _fill(self, file: SpanFile, table: Table, state: SharedState) -> set[int]:
        """Put into `file` what this peer has of the state; which spans are then there."""
        held = set() if file.empty else spans_with(table.digests, file.digests())
        if state.step == table.step:
            for span in spans_with(table.digests, state.span_digests()) - held:
                file.write(span, span_of(state, span))
                held.add(span)
        for path in self._checkpoints(table.step):
            try:
                with SpanFile.open(self.manifest, path) as old:
                    for span in spans_with(table.digests, old.digests()) - held:
                        file.write(span, old.read(span, 0, old.span_bytes(span)))
                        held.add(span)
            except (OSError, CheckpointError):
                continue  # damaged: what it lacks is fetched
        return held

    # --- other peers -------------------------------------------------------------------------------------------------

    async def _ask_around(self, donors: Sequence[str]) -> dict[str, dict[str, str]]:
        """What each of them offers: head of the log -> root. In an order of our own, so that newcomers spread."""
        own = self.network.peer_id
        others = [peer for peer in dict.fromkeys(donors) if peer != own and peer not in self.liars]
        others.sort(key=lambda peer: hashlib.sha256(f"{own} {peer}".encode()).digest())
        answers = await asyncio.gather(*(self._offers(peer) for peer in others[:ASKED]))
        return dict(zip(others[:ASKED], answers, strict=True))

    async def _offers(self, donor: str) -> dict[str, str]:
        try:
            answer = await self.network.streams.call(
                donor, OFFERS, timeout_seconds=OFFER_SECONDS, limit_bytes=OFFER_BYTES, purpose=PURPOSE
            )
        except PeerError:
            return {}  # a seed, a peer that has just gone: not everybody has states
        try:
            offers: Any = json.loads(bytes(answer))
        except (ValueError, RecursionError):
            offers = None
        if not isinstance(offers, dict):
            self._gave_up(donor, "refused", "offers nothing that can be read")
            return {}
        return {head: root for head, root in offers.items() if isinstance(root, str)}

    def _take(
        self, wanted: CertifiedState, donors: Sequence[str], state: SharedState, initial: Callable[[], SharedState]
    ) -> None:
        """Download what is missing of this state, and load it."""
        table, having = self._table(wanted, donors)
        place = self._place(wanted.root)
        self._clear(but=place)
        with SpanFile.create(self.manifest, place, table.step, table.samples) as file:
            held = self._fill(file, table, state)
            sizes = [file.span_bytes(span) for span in range(file.spans)]
            missing = set(range(file.spans)) - held

            async def ask(donor: str, span: int, offset: int, memory: Memory, seconds: float) -> None:
                request = REQUEST.pack(wanted.root, span, offset, sum(map(len, memory)))
                await asked.fill(donor, memory, request, timeout_seconds=seconds)

            asked = Conversations(self.network.streams, SPANS, PURPOSE)
            fresh = file.empty and not held and state.step == 0  # then what is in `state` can be made again
            to = ToState(file, state) if fresh else ToFile(file)
            download = Download(table.digests, sizes, missing=missing, ask=ask, keep=to.keep, place=to.place)
            try:
                self.network.run(self._watched(download, having, sum(sizes[span] for span in held), asked))
            except BaseException:
                to.give_up(initial)
                raise
            if fresh:
                state.step, state.samples = table.step, table.samples
                self._clear()
            else:
                self._load(file, state)  # every span was checked when it came, or where it was found

    def _table(self, wanted: CertifiedState, donors: Sequence[str]) -> tuple[Table, list[str]]:
        """What the state consists of, from the first donor that tells the truth; and who may be asked for it."""
        left = [donor for donor in donors if donor not in self.liars]
        while left:
            try:
                data = self.network.run(self._ask_table(left[0], wanted.root))
                step, samples, digests, root = parse_table(data)
            except PeerError as error:
                self._gave_up(left.pop(0), reason_of(error), error.detail)
            except ValueError as error:
                self._gave_up(left.pop(0), "digest", str(error))
            else:
                if root == wanted.root and step == wanted.step:
                    return Table(root, step, samples, tuple(digests)), left
                self._gave_up(left.pop(0), "digest", "gave a table of digests that is not the certified one")
        raise NetworkError("nobody has it")

    async def _ask_table(self, donor: str, root: bytes) -> bytes:
        size = TABLE_HEAD.size + 32 * len(self.averager.terms.spans)
        data = bytearray()
        while len(data) < size:
            length = min(TABLE_PIECE_BYTES, size - len(data))
            piece = await self._ask(donor, (root, TABLE, len(data), length), TABLE_SECONDS)
            if len(piece) != length:
                raise ValueError(f"gave {len(data) + len(piece)} of the table's {size} bytes")
            data += piece
        return bytes(data)

    async def _ask(self, donor: str, what: tuple[bytes, int, int, int], seconds: float) -> bytearray:
        return await self.network.streams.call(
            donor, SPANS, REQUEST.pack(*what), timeout_seconds=seconds, limit_bytes=what[3], purpose=PURPOSE
        )

    async def _watched(self, download: Download, donors: Sequence[str], done: int, asked: Conversations) -> None:
        """Run it, tell how it goes, and stop where this peer leaves."""
        total, told = sum(download.sizes), [done, 0]

        def came(size: int, active: int) -> None:
            told[0] += size
            told[1] = active

        work = asyncio.ensure_future(download.run(donors, came))
        try:
            while not work.done() and not self.leaving():
                await asyncio.wait({work}, timeout=TELL_SECONDS)
                self.watch.downloading(told[0], total, len(download.active) or told[1])
            if not work.done():
                raise NetworkError("this peer is leaving; what came is kept")
            work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            asked.close()
            for donor, (reason, detail) in download.given_up.items():
                self._gave_up(donor, reason, detail)

    def _gave_up(self, donor: str, reason: str, detail: str) -> None:
        if reason == "digest":
            self.liars.add(donor)
            self.network.reject("digest")
        self.watch.gave_up(donor, reason, detail)
