"""Only the owner's and the anchors' word counts, and only unaltered: everything else is refused in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from swarm.averaging.live.positions import position_to_bytes
from swarm.averaging.round.certificate import Position, Seat, genesis
from swarm.errors import CheckpointError, IdentityError
from swarm.run.manifest import Manifest
from swarm.trust.endorsement import MAX_BYTES, endorse, read_endorsement
from swarm.trust.identity import Identity
from tests.swarm.averaging.live.trainees import manifest

OWNER, ANCHOR, STRANGER = Identity.generate(), Identity.generate(), Identity.generate()
ROOT = "7" * 64


def run() -> Manifest:
    base = manifest()
    return base.model_copy(
        update={"owner": OWNER.peer_id, "join": base.join.model_copy(update={"anchors": (ANCHOR.peer_id,)})}
    )


def at(run: Manifest, step: int = 40) -> Position:
    seats = (Seat(STRANGER.peer_id, 5, True, 8.0), Seat(ANCHOR.peer_id, 6, False, 1.0))
    return Position(bytes.fromhex(run.digest), b"l" * 32, step, b"h" * 32, seats)


@pytest.mark.parametrize("signer", [OWNER, ANCHOR])
def test_the_owners_and_an_anchors_word_is_read_back(signer: Identity) -> None:
    made = endorse(run(), signer, root=ROOT, position=at(run()))
    found = read_endorsement(made.to_bytes(), run(), "here")
    assert (found, found.at()) == (made, at(run()))
    assert (found.step, found.root, found.signer) == (40, ROOT, signer.peer_id)


def test_a_strangers_key_cannot_sign() -> None:
    with pytest.raises(IdentityError, match="neither the owner") as caught:
        endorse(run(), STRANGER, root=ROOT, position=at(run()))
    assert "owner.pem" in str(caught.value)


def forged(**changes: Any) -> bytes:
    """Altered after it was signed."""
    made = endorse(run(), OWNER, root=ROOT, position=at(run()))
    return json.dumps(made.model_dump(mode="json") | changes).encode()


def signed_anyway(identity: Identity, **changes: Any) -> bytes:
    """By whoever, whatever it says."""
    made = endorse(run(), OWNER, root=ROOT, position=at(run())).model_copy(
        update={"signer": identity.peer_id} | changes
    )
    return made.model_copy(update={"signature": identity.sign(made.signed_bytes()).hex()}).to_bytes()


BAD = {
    "nothing": b"",
    "no JSON": b"\xff\x00",
    "nested without end": b"[" * 100_000,
    "too long": b" " * (MAX_BYTES + 1),
    "another root": forged(root="8" * 64),
    "another step": forged(step=41),
    "no signature": forged(signature=""),
    "a field more": forged(note="x"),
    "a step below zero": forged(step=-1),
    "a stranger as himself": signed_anyway(STRANGER),
    "a stranger as the owner": forged(signature=STRANGER.sign(b"x").hex()),
    "of another run": signed_anyway(OWNER, run="9" * 64),
    "a step that is not its position's": signed_anyway(OWNER, step=41),
    "a position of another run": signed_anyway(OWNER, position=position_to_bytes(genesis(b"9" * 32)).hex(), step=0),
    "a position that is none": signed_anyway(OWNER, position="00ff"),
}


@pytest.mark.parametrize("name", BAD)
def test_everything_else_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_endorsement(BAD[name], run(), "from a peer")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("from a peer") or "position in the log" in str(caught.value)
