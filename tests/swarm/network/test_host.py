"""Starting, failing to start, ending: with real daemons."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from swarm.errors import ConfigError, LinkError, NetworkError, ResourceError
from swarm.network.failure import PeerError
from swarm.network.host import Network
from swarm.trust.identity import Identity
from tests.swarm.network.conftest import RUN, Join

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]


def port_of(network: Network) -> int:
    return int(network.addresses()[0].split("/")[4])


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process has ended (a zombie has) within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        threading.Event().wait(0.02)
    return False


def test_the_peer_id_is_the_one_computed_from_our_key_and_peers_find_each_other(join: Join) -> None:
    first = join()
    second, third = join(first), join(first)
    assert first.addresses()[0].endswith(f"/p2p/{first.identity.peer_id}")
    assert set(first.connected()) >= {second.peer_id, third.peer_id}


def test_peers_that_only_know_the_seed_can_call_each_other(join: Join) -> None:
    first = join()
    second, third = join(first), join(first)

    async def echo(peer_id: str, request: bytearray) -> bytes:
        return peer_id.encode() + bytes(request)

    second.handle("echo", echo, limit_bytes=100)
    assert third.call(second.peer_id, "echo", b"!") == third.peer_id.encode() + b"!"


def test_a_peer_whom_the_daemons_routing_does_not_find_is_dialled_where_it_says_it_is(join: Join) -> None:
    """They have no peer in common, so nobody could tell one where the other is, except its own record."""
    one, other = join(), join()

    async def echo(peer_id: str, request: bytearray) -> bytes:
        return bytes(request)

    one.handle("echo", echo, limit_bytes=100)
    with pytest.raises(PeerError, match="its address is not known"):
        other.call(one.peer_id, "echo", b"!")
    not_its = ["/ip4/127.0.0.1/tcp/0", "nonsense", f"/ip4/127.0.0.1/tcp/1/p2p/{other.peer_id}"]
    other.note_addresses(one.peer_id, not_its)
    with pytest.raises(PeerError, match="its address is not known"):
        other.call(one.peer_id, "echo", b"!")
    other.note_addresses(one.peer_id, [f"/ip4/127.0.0.1/tcp/1/p2p/{one.peer_id}"])
    with pytest.raises(PeerError, match="connection refused"):
        other.call(one.peer_id, "echo", b"!")
    other.note_addresses(one.peer_id, one.addresses())

    async def twice() -> list[bytearray]:
        ask = (other.streams.call(one.peer_id, "echo", b"!", timeout_seconds=10, limit_bytes=100) for _ in range(2))
        return list(await asyncio.gather(*ask))

    assert other.run(twice()) == [b"!", b"!"]
    with pytest.raises(PeerError, match="it does not serve this run"):
        other.call(one.peer_id, "another", b"!")


def test_close_leaves_no_process_no_port_no_thread_and_no_file(join: Join) -> None:
    first = join()
    network = join(first)
    daemon, port, folder = network.daemon_pid, port_of(network), network._engine.daemon.folder
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o077 == 0
    began = time.monotonic()
    network.close()
    assert time.monotonic() - began < 2
    assert gone(daemon, 0.1)
    assert not is_open(port)
    assert not folder.exists()
    assert not network._thread.is_alive()
    network.close()
    with pytest.raises(NetworkError, match="closed"):
        network.read("progress")


def test_a_taken_port_is_named(join: Join) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ResourceError, match=rf"127\.0\.0\.1:{port} is taken; .*--listen"):
            join(listen=[f"/ip4/127.0.0.1/tcp/{port}"])
        with pytest.raises(ResourceError, match=f"{port} is taken"):
            join(listen=["/ip4/127.0.0.1/tcp/0", f"/ip4/127.0.0.1/tcp/{port}"])


def test_two_peers_do_not_share_a_port(join: Join) -> None:
    port = int(join().addresses()[0].split("/")[4])
    with pytest.raises(ResourceError, match=rf"127\.0\.0\.1:{port} is taken; .*--listen"):
        join(listen=[f"/ip4/127.0.0.1/tcp/{port}"])


def test_an_address_of_another_machine_is_refused(join: Join) -> None:
    with pytest.raises(ConfigError, match=r"does not have that address"):
        join(listen=["/ip4/8.8.8.8/tcp/0"])


@pytest.mark.parametrize("address", ["127.0.0.1:4001", "/ip4/127.0.0.1", "/ip4/1.2.3.4/tcp/99999", "", "/ip4/x/tcp/1"])
def test_a_malformed_address_is_refused_before_anything_starts(address: str) -> None:
    for field, error in (("listen", ConfigError), ("announce", ConfigError), ("initial_peers", LinkError)):
        network = Network(Identity.generate(), RUN, **{field: [address]})  # type: ignore[arg-type]
        with pytest.raises(error) as caught:
            network.start()
        assert "\n" not in str(caught.value)
        network.close()


def test_each_dead_seed_is_named_with_its_cause(join: Join) -> None:
    first, stranger, impostor = join(), Identity.generate(), Identity.generate()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    dead = f"/ip4/127.0.0.1/tcp/{port}/p2p/{stranger.peer_id}"
    other = f"/ip4/127.0.0.1/tcp/{port_of(first)}/p2p/{impostor.peer_id}"
    with pytest.raises(NetworkError) as caught:
        join(initial_peers=[dead, other])
    assert f"{dead}: connection refused" in str(caught.value)
    assert f"{other}: another peer answers there" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert join(initial_peers=[dead, *first.addresses()]).connected() == [first.peer_id]


def test_a_daemon_that_dies_is_noticed_and_reported(join: Join) -> None:
    told: list[str] = []
    heard = threading.Event()

    def hear(reason: str) -> None:
        told.append(reason)
        heard.set()

    network = join(on_death=hear)
    os.kill(network.daemon_pid, signal.SIGKILL)
    assert heard.wait(5)
    assert told == [network.failure]
    assert "killed by signal 9" in told[0]
    with pytest.raises(NetworkError, match=r"killed by signal 9; start this peer again"):
        network.read("progress")


CHILD = """
import os, sys, signal
from swarm.trust.identity import Identity
from swarm.network.host import Network
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in a shell's background
with Network(Identity.generate(), "0" * 64) as network:
    print(network.daemon_pid, flush=True)
    if sys.argv[1] == "crash":
        os._exit(1)
    signal.pause()
"""


@pytest.mark.parametrize("end", ["kill", "crash"])
def test_the_daemon_does_not_outlive_a_parent_that_was_killed(end: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", CHILD, end], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    daemon = int(process.stdout.readline())
    if end == "kill":
        process.kill()
    process.wait()
    process.stdout.close()
    assert gone(daemon)


def test_control_c_for_the_whole_group_leaves_the_daemon_to_its_parent() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, "stay"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    daemon = int(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    assert gone(daemon, 0.1)
    assert errors.strip().endswith("KeyboardInterrupt")
