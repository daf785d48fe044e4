"""Being told to leave, and leaving nobody behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from peers.lifecycle import SAME_SECONDS, Leave, end_all
from tests.peers.swarm_demo import wait_until

PARENT = """
import subprocess, sys, signal
from swarm.tied import tied
child = subprocess.Popen(tied([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"],
                              signal.SIGTERM), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
signal.pause()
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties the life of a child to its parent's")
def test_a_tied_child_ends_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not is_gone(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: is_gone(child), 5, "the child ends")


def test_end_all_ends_the_stubborn_too() -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for code in (STUBBORN, "print('up', flush=True); import signal; signal.pause()")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    end_all(processes, patience_seconds=0.5)
    assert [process.returncode for process in processes] == [-signal.SIGKILL, -signal.SIGTERM]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()


def test_the_first_signal_asks_and_a_later_one_insists() -> None:
    asked = threading.Event()
    with Leave(on_leave=asked.set) as leave:
        assert not leave
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(5)
        os.kill(os.getpid(), signal.SIGINT)  # the same request, by another way
        assert leave
        leave.asked -= SAME_SECONDS
        with pytest.raises(SystemExit) as end:
            os.kill(os.getpid(), signal.SIGTERM)
        assert end.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_broke_is_told_once_and_a_signal_has_no_reason() -> None:
    with Leave() as leave:
        leave.now("the daemon ended")
        leave.now("and again")
        assert leave.reason == "the daemon ended"
    with Leave() as leave:
        os.kill(os.getpid(), signal.SIGINT)
        assert leave.reason is None
