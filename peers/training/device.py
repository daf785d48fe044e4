"""Which device a peer computes on: what was asked for, or the best that this torch can use."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import torch

from swarm.errors import ResourceError


def choose_device(wanted: str, say: Callable[[str], None]) -> torch.device:
    """The device of `--device`: auto, cpu, cuda, cuda:1, mps. ResourceError where it cannot be had."""
    if wanted == "auto":
        return _best(say)
    device = torch.device(wanted)
    if device.type == "cuda":
        _require_cuda(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ResourceError("--device mps: this torch cannot use Apple's GPU here; use --device cpu")
    return device


def device_kind(wanted: str) -> str:
    """cpu, cuda or mps: what `choose_device` gives; cpu where it gives none."""
    try:
        return choose_device(wanted, lambda words: None).type
    except ResourceError:
        return "cpu"


def further_devices(wanted: str, count: int | None = None) -> tuple[str, ...]:
    """What computes beside the device that `choose_device` gives: all other GPUs, unless one was named."""
    if wanted not in ("auto", "cuda"):
        return ()
    count = torch.cuda.device_count() if count is None and torch.cuda.is_available() else count or 0
    return tuple(f"cuda:{index}" for index in range(1, count))


def _best(say: Callable[[str], None]) -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda:0")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    if shutil.which("nvidia-smi"):
        say(f"This machine has an NVIDIA GPU that torch {torch.__version__} cannot use; see: make install TORCH=cuda")
    return torch.device("cpu")


def _require_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        remedy = "install one that can (make install TORCH=cuda), or use --device cpu"
        raise ResourceError(f"--device {device}: torch {torch.__version__} can use no CUDA device here; {remedy}")
    if device.index is not None and device.index >= torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise ResourceError(
            f"--device {device}: this machine has {there} (cuda:0 to cuda:{there - 1}); use one of them"
        )
