"""The machine: processor and GPU, memory, disk, and how many files a process may open."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil

from peers.checks.finding import Finding, fail, ok, warn
from swarm.errors import ResourceError
from swarm.run.sizing import show_bytes

FEWEST_FILES, ENOUGH_FILES = 256, 1024  # sockets of streams, chunks of tokenised text, checkpoints
LEAST_MEMORY = 1_000_000_000  # what Python, torch and the daemon take before any model
LEAST_DISK = 1_000_000_000


class Device:
    """What torch computes on. wanted: as --device. choose(wanted, say): the device in words; says what a GPU lacks."""

    name = "device"

    def __init__(self, wanted: str = "auto", choose: Callable[[str, Callable[[str], None]], str] | None = None) -> None:
        self.wanted, self.choose = wanted, choose or _chosen

    def look(self) -> Finding:
        said: list[str] = []
        try:
            device = self.choose(self.wanted, said.append)
        except ResourceError as error:
            return fail(self.name, str(error), "bloomswarm doctor --device auto")
        except Exception as error:  # a broken torch fails in as many ways as there are libraries behind it
            return fail(self.name, f"torch does not work here: {type(error).__name__}: {error}", "make clean install")
        cores = os.cpu_count() or 1
        if said:
            return warn(self.name, said[0].rstrip("."), "make install TORCH=cuda", device=device)
        return ok(self.name, f"computes on {device}; {cores} processor cores", device=device, cores=cores)


class Memory:
    """needed: bytes; that of the run, or what any peer needs."""

    name = "memory"

    def __init__(self, needed: int = LEAST_MEMORY, available: int | None = None, what: str = "a peer") -> None:
        self.needed, self.available, self.what = needed, available, what

    def look(self) -> Finding:
        free = psutil.virtual_memory().available if self.available is None else self.available
        words = f"{show_bytes(free)} free, {self.what} needs about {show_bytes(self.needed)}"
        values = {"available_bytes": free, "needed_bytes": self.needed}
        if free < self.needed:
            fix = "close other programs; or help without training: bloomswarm assist LINK"
            return fail(self.name, words, fix, **values)
        if free < 1.2 * self.needed:
            return warn(self.name, words, "close other programs, or join with --micro-batch 1", **values)
        return ok(self.name, words, **values)


class Disk:
    """Free space where `folder` is or will be."""

    name = "disk"

    def __init__(self, folder: Path, needed: int = LEAST_DISK, what: str = "a peer") -> None:
        self.folder, self.needed, self.what = folder, needed, what

    def look(self) -> Finding:
        place = next(parent for parent in [self.folder.absolute(), *self.folder.absolute().parents] if parent.exists())
        free = shutil.disk_usage(place).free
        words = f"{show_bytes(free)} free at {place}, {self.what} needs about {show_bytes(self.needed)}"
        values = {"free_bytes": free, "needed_bytes": self.needed}
        if not os.access(place, os.W_OK):
            return fail(self.name, f"{place} cannot be written", "choose another folder with --dir", **values)
        if free < self.needed:
            return fail(self.name, words, "free some space, or choose another folder with --dir", **values)
        return ok(self.name, words, **values)


class OpenFiles:
    name = "open files"

    def __init__(self, limit: int | None = None) -> None:
        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit

    def look(self) -> Finding:
        if self.limit == resource.RLIM_INFINITY or self.limit >= ENOUGH_FILES:
            return ok(self.name, "no limit" if self.limit < 0 else f"{self.limit} at once", limit=self.limit)
        judge = fail if self.limit < FEWEST_FILES else warn
        return judge(self.name, f"only {self.limit} at once", f"ulimit -n {4 * ENOUGH_FILES}", limit=self.limit)


def _chosen(wanted: str, say: Callable[[str], None]) -> str:
    import torch

    from peers.training.device import choose_device

    device = choose_device(wanted, say)
    (torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)).sum().item()
    return f"{device} (torch {torch.__version__})"
