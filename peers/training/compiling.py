"""`torch.compile` for this peer's own model, where it is measured to be faster: a trial beside training, then its use.

Only what this peer computes alone is compiled, forward and backward; the shared update never is. The trial is another
process of low priority (`compile_trial`), since a compiler may be missing, fail, hang or crash. With "auto" it comes
after some minutes of training: who stays for less has nothing from it. What can go wrong is one line in the log, and
training goes on with the model as it is; also where the compiled one fails later.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swarm.run.sizing import cpu_memory, show_bytes, show_seconds

if TYPE_CHECKING:
    from swarm.model.gradient import GradientAccumulator, Precision
    from swarm.run.schema import ModelSpec, RunConfig
    from swarm.settings import Settings

AFTER_SECONDS = {"auto": 600.0, "on": 0.0}  # of training, before the trial
LEAST_GAIN = {"auto": 1.05, "on": 1.0}  # times as fast
MOST_ERROR = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.05}  # of the gradient, relative
TRIAL_SECONDS = 600.0
LOOK_SECONDS = 0.5
FOLDER = "compiled"  # in the peer's folder: a shared one would be code that others can write


@dataclass(frozen=True)
class Order:
    """What is tried. samples: of a micro-batch. memory_bytes: that the trial takes, about."""

    spec: ModelSpec
    device: str
    precision: Precision
    checkpointing: bool
    threads: int
    samples: int
    memory_bytes: int

    def line(self) -> str:
        told = asdict(self) | {"spec": self.spec.model_dump(mode="json"), "niceness": 10}
        return json.dumps(told) + "\n"


class Compiling:
    """Tries, in a thread of its own, and gives `sums` the compiled model where that is faster.

    wish: "auto" or "on". resting: true while this peer may compute nothing: paused, or leaving.
    """

    def __init__(
        self,
        sums: GradientAccumulator,
        order: Order,
        folder: Path,
        *,
        wish: Literal["auto", "on"],
        say: Callable[[str], None],
        resting: Callable[[], object],
        free: Callable[[], int],
    ) -> None:
        self.sums, self.order, self.folder = sums, order, folder / FOLDER
        self.wish, self.say, self.resting, self.free = wish, say, resting, free
        self.thread = threading.Thread(target=self.run, name="compiling", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def run(self) -> None:
        """Wait, try, decide."""
        self._rest(AFTER_SECONDS[self.wish])
        if (lacks := missing(self.order.device)) is not None:
            self._leave_out(lacks)
        elif self.free() < self.order.memory_bytes:
            self._leave_out(f"a trial needs {show_bytes(self.order.memory_bytes)} of memory")
        else:
            while (found := self.tried()) is None:
                self._rest(0.0)
            self._leave_out(found) if isinstance(found, str) else self.decide(found)

    def _leave_out(self, why: str) -> None:
        if self.wish == "on" or not why.startswith("there is no"):  # who did not ask need not hear of compilers
            self.say(f"The model is not compiled: {why}.")

    def _rest(self, seconds: float) -> None:
        """Until so many seconds were not rested."""
        pause = threading.Event()
        while seconds > 0 or self.resting():
            pause.wait(LOOK_SECONDS)
            seconds -= 0.0 if self.resting() else LOOK_SECONDS

    def tried(self) -> dict[str, float] | str | None:
        """What the trial's process answers, or why it does not; None where it was ended so that this peer rests."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-P", "-m", "peers.training.compile_trial"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(self.folder)},
            start_new_session=True,
        )
        try:
            return self._answer(process)
        finally:
            _end(process)

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, float] | str | None:
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + TRIAL_SECONDS
        with suppress(BrokenPipeError):
            process.stdin.write(self.order.line())
            process.stdin.flush()
        while process.poll() is None:
            if self.resting():
                return None
            if time.monotonic() > deadline:
                return f"the trial did not end within {show_seconds(TRIAL_SECONDS)}"
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
        answer = process.stdout.read(4096).splitlines()
        if process.returncode != 0 or not answer:
            return f"torch.compile fails on this machine (the trial ended with {process.returncode})"
        return {name: float(value) for name, value in json.loads(answer[-1]).items()}

    def decide(self, found: dict[str, float]) -> None:
        """Use it where it is right and fast enough."""
        from peers.training.compile_trial import compiled_forward
        from swarm.model.gradient import Compiled

        gain, took = found["plain"] / found["compiled"], show_seconds(found["compiling"])
        if not found["error"] <= MOST_ERROR[self.order.precision]:
            self._leave_out(f"its gradient is {found['error']:.2g} off")
        elif gain < LEAST_GAIN[self.wish]:
            self._leave_out(f"it would be {gain:.2f} times as fast (tried beside training; compiling took {took})")
        else:
            self.say(f"The compiled model is {gain:.2f} times as fast (compiling took {took}): used from now on.")
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self.folder)  # torch has no other way to be told
            shape = (self.order.samples, self.order.spec.sequence_length)
            self.sums.compiled = Compiled(shape, compiled_forward(self.sums.model), self.failed)

    def failed(self, error: BaseException) -> None:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        self.say(f"The compiled model failed ({reason}): going on with it as it is.")


def compile_beside(
    config: RunConfig,
    settings: Settings,
    sums: GradientAccumulator,
    samples: int,
    *,
    folder: Path,
    say: Callable[[str], None],
    resting: Callable[[], object],
) -> None:
    """Begin what the settings wish, for micro-batches of `samples`. Copies on further devices are left as they are."""
    import torch

    from swarm.model.memory import device_free

    if sums.devices > 1 or settings.compile == "off":
        return
    order = Order(
        config.model,
        str(sums.device),
        sums.precision,
        checkpointing=settings.gradient_checkpointing,
        threads=torch.get_num_threads(),
        samples=samples,
        memory_bytes=cpu_memory(config, samples, checkpointing=settings.gradient_checkpointing),
    )
    free = partial(device_free, sums.device)
    Compiling(sums, order, folder, wish=settings.compile, say=say, resting=resting, free=free).start()


def missing(device: str) -> str | None:
    """What `torch.compile` lacks on this machine for this kind of device."""
    if not any(map(shutil.which, ("g++", "clang++", "c++") if device == "cpu" else ("gcc", "cc", "clang"))):
        return f"there is no {'C++' if device == 'cpu' else 'C'} compiler (on Debian: apt install g++)"
    if device.startswith("cuda") and importlib.util.find_spec("triton") is None:
        return "there is no triton"
    return None


def _end(process: subprocess.Popen[Any]) -> None:
    """The trial, and a compiler that it may have started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
