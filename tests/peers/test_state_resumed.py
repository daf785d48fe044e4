"""A download that is killed goes on where it was; one without room on the disk is refused and leaves nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.state import coming
from peers.state.checkpoint_donor import CheckpointDonor
from swarm.errors import ResourceError
from swarm.network.caps import Caps
from swarm.network.host import Network
from swarm.run.manifest import SignedManifest
from swarm.state.span_file import SpanFile, spans_with
from tests.peers import state_swarm as tools
from tests.small_disk import small_disk
from tests.swarm.averaging.live.trainees import wait_until
from tests.swarm.network.conftest import Join, join  # noqa: F401

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def signed() -> SignedManifest:
    """0.9M parameters in 56 spans, 11 MB of state."""
    return tools.signed_run(hidden=128, layers=4, span_size=16384)


def donor(network: Network, signed: SignedManifest, folder: Path) -> None:
    tools.keep(folder, tools.some_state(signed.manifest), signed)
    CheckpointDonor(network, signed.manifest, folder / "checkpoints")


def test_after_a_kill_only_the_rest_is_fetched(join: Join, signed: SignedManifest, tmp_path: Path) -> None:  # noqa: F811
    certified = tools.some_state(signed.manifest)
    size = sum(vector.nbytes for vector in certified.vectors)
    giver = join(run=signed.digest, caps=Caps(upload_mbit=12))  # seven seconds for all of it
    donor(giver, signed, tmp_path / "donor")
    (tmp_path / "manifest.json").write_bytes(signed.to_json())
    command = [sys.executable, "-m", "tests.peers.state_swarm", str(tmp_path), *giver.addresses()]
    taker = subprocess.Popen(command)
    try:
        wait_until(lambda: giver.traffic.total("sent", tools.PURPOSE) > 0.85 * size, 40, "more than is left to chance")
        taker.send_signal(signal.SIGKILL)
    finally:
        taker.kill()
        taker.wait(10)
    (partial,) = (tmp_path / "joiner" / "download").glob("*.safetensors")
    with SpanFile.open(signed.manifest, partial) as file:
        held = spans_with(certified.span_digests(), file.digests())
        there = sum(file.span_bytes(span) for span in held)
    assert 0.2 * size < there < size
    again = join(giver, run=signed.digest)
    fetcher = tools.fetcher(again, signed.manifest, tmp_path / "joiner", certified)
    state = tools.some_state(signed.manifest, step=0, seed=1)
    fetcher.fetch([giver.peer_id], state, lambda: tools.some_state(signed.manifest, step=0, seed=1))
    assert state.digest() == certified.digest()
    assert size - there <= tools.received(again) < size - there + 10_000
    assert fetcher.watch.told[0][0] >= there, "progress begins with what was there"


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    with small_disk(tmp_path / "little", 2 << 20) as folder:
        yield folder


def test_a_full_disk_is_one_line_and_leaves_nothing(
    join: Join,  # noqa: F811
    signed: SignedManifest,
    tmp_path: Path,
    little_disk: Path,
) -> None:
    giver = join(run=signed.digest)
    donor(giver, signed, tmp_path / "donor")
    certified, taker = tools.some_state(signed.manifest), join(giver, run=signed.digest)
    fetcher = tools.fetcher(taker, signed.manifest, little_disk, certified)
    state = tools.some_state(signed.manifest, step=0, seed=1)
    before = state.digest()
    with pytest.raises(ResourceError) as caught:
        fetcher.fetch([giver.peer_id], state, lambda: tools.some_state(signed.manifest, step=0, seed=1))
    assert "the disk is full" in str(caught.value)
    assert "11.1 MB" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 10
    assert state.digest() == before
    assert not list((little_disk / "download").iterdir())
    assert tools.received(taker) < 10_000, "found out before anything but the table was fetched"


def test_a_disk_that_others_fill_meanwhile_keeps_what_came(
    join: Join,  # noqa: F811
    signed: SignedManifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There was room when the download began: its file takes none beforehand."""
    giver = join(run=signed.digest)
    donor(giver, signed, tmp_path / "donor")
    certified, taker = tools.some_state(signed.manifest), join(giver, run=signed.digest)
    fetcher = tools.fetcher(taker, signed.manifest, tmp_path / "joiner", certified)
    state = tools.some_state(signed.manifest, step=0, seed=1)
    before, size = state.digest(), sum(vector.nbytes for vector in certified.vectors)
    write, room = os.pwrite, iter(range(60))  # a span is three writes

    def filling(descriptor: int, data: memoryview, place: int) -> int:
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data, place)

    with monkeypatch.context() as patched:
        patched.setattr(coming, "UNKEPT_SECONDS", 0.0)
        patched.setattr(os, "pwrite", filling)
        with pytest.raises(ResourceError, match=r"the disk is full.*free some space and join again") as caught:
            fetcher.fetch([giver.peer_id], state, lambda: tools.some_state(signed.manifest, step=0, seed=1))
    assert caught.value.exit_code == 10
    assert state.digest() == before
    came = tools.received(taker)
    fetcher.fetch([giver.peer_id], state, lambda: tools.some_state(signed.manifest, step=0, seed=1))
    assert state.digest() == certified.digest()
    assert tools.received(taker) - came < 0.75 * size, "19 of 56 spans were there"
