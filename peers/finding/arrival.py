"""Arriving in a run: the manifest and the tokenizer from the swarm, each checked against the link, and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from peers.owner.membership import guarded, require_invitation
from peers.run_folder import RunFolder
from swarm.errors import IncompatibleError, NetworkError, SwarmError
from swarm.run.portable import serves_weights

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.network.host import Network
    from swarm.run.link import Link
    from swarm.run.manifest import SignedManifest

HANDLER = "manifest"
RETRY_SECONDS = (1.0, 3.0)  # a stream that broke: a busy peer, or a connection that was just replaced
ANSWER_SECONDS = 10.0  # of one door
Agree = Callable[["SignedManifest", "Network", "Link"], None]  # raises where the user does not want to join


def arrive(network: Network, link: Link, folder: RunFolder, agree: Agree) -> tuple[SignedManifest, bytes]:
    """The run's signed manifest and tokenizer.json, from this folder or the swarm; asks `agree` the first time.

    Offers both to others afterwards: every peer is a door. LinkError, ConfigError, IncompatibleError, NetworkError.
    """
    from swarm.run.manifest import incompatible

    known = folder.has_manifest()
    signed = folder.manifest() if known else ask_for_manifest(network, link)
    if known and signed.digest != link.digest:
        told = incompatible(signed.manifest, ask_for_manifest(network, link).manifest)
        raise IncompatibleError(f"{folder.path} holds another run: {told}, or another --dir for another run")
    require_invitation(network, signed, link, folder.path)
    if not known:
        agree(signed, network, link)
    tokenizer = folder.tokenizer() if known else ask_for_tokenizer(network, signed)
    if serves_weights(signed.manifest.model.initial_checkpoint) and folder.weights() is None:
        folder.write_weights(ask_for_weights(network, signed))
    folder.write(signed.to_json(), tokenizer)
    if link.at is not None:
        folder.write_pin(link.at)
    offer(network, signed, tokenizer, folder.weights())
    return signed, tokenizer


def offer(network: Network, signed: SignedManifest, tokenizer: bytes, weights: Path | None) -> None:
    """Let newcomers have what they need: the signed manifest, and by their digests tokenizer and initial weights."""
    answer = signed.to_json()

    async def give(peer_id: str, request: bytearray) -> bytes:
        return answer

    network.handle(HANDLER, give, limit_bytes=64, anyone=True)
    network.serve(str(signed.manifest.tokenizer.digest), tokenizer)
    if weights is not None:
        network.serve(str(signed.manifest.model.initial_digest), weights)


def ask_for_manifest(network: Network, link: Link, seconds: float = 60.0) -> SignedManifest:
    """From any peer of the link: whoever gives it, it must hash to the link's digest and bear its owner's signature.

    Those with an open connection are asked first. NetworkError after about so many seconds, with each one's cause.
    """
    from swarm.network.streams import PeerError
    from swarm.run.manifest import MAX_MANIFEST_BYTES, SignedManifest

    causes: list[str] = []
    deadline, there = time.monotonic() + seconds, set(network.connected())
    doors = dict.fromkeys(address.rsplit("/", 1)[-1] for address in link.peers)
    for wait in (*RETRY_SECONDS, None):
        causes, again = [], False
        for peer_id in sorted(doors, key=lambda peer: peer not in there):
            left = min(ANSWER_SECONDS, max(1.0, deadline - time.monotonic()))
            try:
                data = network.call(peer_id, HANDLER, b"", timeout_seconds=left, limit_bytes=2 * MAX_MANIFEST_BYTES)
                signed = SignedManifest.from_json(bytes(data), f"the manifest from {peer_id[-6:]}").expect(link.digest)
                guarded(network, signed)
                return signed
            except IncompatibleError:
                raise
            except SwarmError as error:
                causes.append(str(error))
                again = again or (isinstance(error, PeerError) and error.cause in ("closed", "timeout"))
        if wait is None or not again or time.monotonic() + wait > deadline:
            break
        time.sleep(wait)
    raise NetworkError(f"no peer of the link gave the run's manifest: {'; '.join(causes)}")


def ask_for_tokenizer(network: Network, signed: SignedManifest) -> bytes:
    from swarm.data.tokenizer import MAX_TOKENIZER_BYTES

    return network.fetch(str(signed.manifest.tokenizer.digest), MAX_TOKENIZER_BYTES)


def ask_for_weights(network: Network, signed: SignedManifest) -> bytes:
    """The (size,) vector that the run starts from, as little-endian float32. NetworkError where nobody has it."""
    from peers.commands.terminal import passing
    from swarm.run.sizing import parameters

    limit = 4 * parameters(signed.manifest.model)
    with passing() as say:

        def progress(done: int, size: int, donor: str) -> None:
            say(f"the weights the run starts from: {done / 1e6:.0f} of {size / 1e6:.0f} MB")

        return network.fetch(str(signed.manifest.model.initial_digest), limit, progress=progress)
