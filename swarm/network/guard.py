"""The door of a run of invited peers: whoever has not shown an invitation is asked for it, and gets nothing before.

admission    request: serial of the asker's list of revocations (8 bytes, big-endian)
             answer: msgpack of [the answerer's invitation, the asker's newest one that it knows, list where newer]

Progress records carry the same invitation, so that most peers know each other before they speak.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgpack

from swarm.network.allowance import Allowance
from swarm.network.streams import PeerError, RefusedError, Streams
from swarm.trust.admission import Admission, Refusal
from swarm.trust.invitation import INVITATION_BYTES, MAX_REVOCATIONS_BYTES

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

HANDLER = "admission"
SERIAL = struct.Struct(">Q")
ANSWER_BYTES = 2 * INVITATION_BYTES + MAX_REVOCATIONS_BYTES + 32
ASK_SECONDS = 5.0
AGAIN_SECONDS = 5.0  # before a peer that could not show an invitation is asked again
ASKED = 1024  # peers of whom it is remembered
AT_ONCE = 16
EACH_BYTES, TOTAL_BYTES, WINDOW_SECONDS = 1 << 18, 64 << 20, 60.0
LIAR_SECONDS = 120.0  # in which a peer is not asked that said it knew more and did not
GOSSIPS = 2  # peers asked for a newer list in one turn


class Guard:
    """One peer's door. Coroutines run in the network's loop; `admitted` and `told` in any thread.

    keep: called with a new list of revocations, to write it down. turn: called now and then with everybody's records.
    """

    keep: Callable[[bytes], object] = staticmethod(bool)
    turn: Callable[[Mapping[str, ProgressRecord]], object] = staticmethod(bool)

    def __init__(
        self,
        own_id: str,
        admission: Admission,
        streams: Streams,
        *,
        reject: Callable[[str], None],
    ) -> None:
        self.own_id, self.admission, self.streams, self.reject = own_id, admission, streams, reject
        self.asked: dict[str, float] = {}  # peer -> when it may be asked again
        self.asking = 0
        self.allowance = Allowance(EACH_BYTES, TOTAL_BYTES, WINDOW_SECONDS, least=512)

    async def refusal(self, peer_id: str) -> Refusal | None:
        """Why nothing of this peer is taken and nothing given to it; it is asked for an invitation first."""
        why = self.admission.refusal(peer_id)
        if why in ("not_invited", "invitation_expired") and self._may_ask(peer_id):
            await self.ask(peer_id)
            why = self.admission.refusal(peer_id)
        return why

    def _may_ask(self, peer_id: str) -> bool:
        now = time.monotonic()
        if self.asking >= AT_ONCE or now < self.asked.get(peer_id, 0.0):
            return False
        if len(self.asked) >= ASKED:
            self.asked = {peer: at for peer, at in self.asked.items() if at > now}
        if len(self.asked) >= ASKED:
            return False
        self.asked[peer_id] = now + AGAIN_SECONDS
        return True

    async def ask(self, peer_id: str) -> bool:
        """Take what this peer shows, if it answers; whether it did."""
        self.asking += 1
        request = SERIAL.pack(self.admission.revocations.serial)
        try:
            answer = await self.streams.call(
                peer_id, HANDLER, request, timeout_seconds=ASK_SECONDS, limit_bytes=ANSWER_BYTES
            )
        except PeerError:
            return False
        finally:
            self.asking -= 1
        return self._take(peer_id, bytes(answer))

    async def hear(self, peer_id: str) -> None:
        """Take the newer list that this peer says it has; whoever had none is not believed again for a while."""
        before = self.admission.revocations.serial
        await self.ask(peer_id)
        if self.admission.revocations.serial == before:
            self.asked[peer_id] = time.monotonic() + LIAR_SECONDS

    def _take(self, peer_id: str, answer: bytes) -> bool:
        try:
            shown, own, revocations = msgpack.unpackb(answer, max_ext_len=0, max_map_len=0, max_array_len=3)
        except (ValueError, TypeError, msgpack.exceptions.UnpackException):
            return False
        if not all(type(part) is bytes for part in (shown, own, revocations)):
            return False
        self.admission.invited(peer_id, shown)
        self.admission.invited(self.own_id, own)
        if revocations and self.admission.take(revocations):
            self.keep(revocations)
        return True

    async def answer(self, peer_id: str, request: bytearray) -> bytes:
        """The handler: anyone may ask."""
        if len(request) != SERIAL.size:
            raise RefusedError("a malformed request")
        known = self.admission.revocations
        newer = known.data if known.serial > SERIAL.unpack(request)[0] else b""
        data = msgpack.packb([self.admission.shown_by(self.own_id), self.admission.shown_by(peer_id), newer])
        if not self.allowance.take(peer_id, len(data)):
            raise RefusedError("so much was given already; ask another peer")
        return bytes(data)

    # --- records -----------------------------------------------------------------------------------------------------

    def told(self) -> dict[str, Any]:
        """Fields of this peer's progress record."""
        shown = self.admission.shown_by(self.own_id)
        return {"invitation": shown.hex() or None, "revocations": self.admission.revocations.serial}

    def admitted(self, records: Mapping[str, ProgressRecord]) -> dict[str, ProgressRecord]:
        """Those whose peers are invited, ours too; the others are counted."""
        result = {}
        for peer_id, record in records.items():
            if record.invitation is not None:
                self.admission.invited(peer_id, bytes.fromhex(record.invitation))
            why = self.admission.refusal(peer_id)
            if why is None or peer_id == self.own_id:
                result[peer_id] = record
            else:
                self.reject(why)
        return result

    def better_informed(self, records: Mapping[str, ProgressRecord]) -> list[str]:
        """Peers that say they have a newer list of revocations, and were not asked for it just now."""
        serial = self.admission.revocations.serial
        newer = (peer for peer, record in records.items() if record.revocations > serial and peer != self.own_id)
        return list(islice(filter(self._may_ask, newer), GOSSIPS))


def admit_only(network: Network, admission: Admission) -> Guard:
    """From now on only invited peers get anything from this peer, or are heard."""
    guard = Guard(network.peer_id, admission, network.streams, reject=network.reject)
    network.handle(HANDLER, guard.answer, limit_bytes=SERIAL.size, anyone=True)
    network.streams.serving.door = network.guard = guard
    return guard
