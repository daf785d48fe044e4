"""A child process whose life is tied to its parent's: it gets a signal when the parent dies, however it dies.

Only the kernel can promise that (`prctl(PR_SET_PDEATHSIG)`, Linux). The child asks for it itself, in a moment's Python
between fork and the real program, because code between fork and exec of a process with threads may deadlock.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

PROGRAM = """
import ctypes, os, sys
parent = int(sys.argv[1])
if ctypes.CDLL(None, use_errno=True).prctl(1, int(sys.argv[2]), 0, 0, 0) != 0 or os.getppid() != parent:
    sys.exit("cannot tie this process's life to its parent's")
os.execv(sys.argv[3], sys.argv[3:])
"""


def tied(arguments: Sequence[str], ending: signal.Signals) -> list[str]:
    """The command line that runs `arguments` (a full path first) as a child that gets `ending` when we die.

    Call from a thread that lives as long as the child should: the kernel watches the thread that forked. Where the
    system cannot do it, the arguments themselves: the child then outlives a parent that was killed with SIGKILL.
    """
    if sys.platform != "linux":
        return list(arguments)
    return [sys.executable, "-I", "-S", "-c", PROGRAM, str(os.getpid()), str(int(ending)), *arguments]
