"""A machine with several GPUs is one peer: each further device has a copy of the model, in a process of its own.

A micro-batch is cut among the devices; their sums meet, in device order, before anything leaves the machine. Parameters
and sums pass through memory that the processes share, so that one code serves every kind of device, and the test of it
on processors is a test of what GPUs run. It costs a copy each way and step: nothing in mode "gradient", where steps
take minutes; in mode "local" choose inner batches of a second or more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import multiprocessing
from transformers import BloomForCausalLM

from swarm.errors import RunFailedError
from swarm.model.gradient import GradientAccumulator, Precision, TrainingBatch
from swarm.model.layout import Layout
from swarm.model.memory import MemoryShortError
from swarm.run.schema import ModelSpec

END_SECONDS = 5.0


@dataclass(frozen=True)
class Recipe:
    """What a replica is made of. parameters, sums: (size,) float32 in shared memory."""

    spec: ModelSpec
    device: str
    precision: Precision
    checkpointing: bool
    threads: int
    parameters: torch.Tensor
    sums: torch.Tensor


@dataclass
class _Replica:
    """The lead's end of one."""

    recipe: Recipe
    pipe: Connection
    process: Any

    def send(self, *words: Any) -> None:
        try:
            self.pipe.send(words)
        except OSError:
            raise self.gone() from None

    def answer(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            raise self.gone() from None

    def gone(self) -> RunFailedError:
        return RunFailedError(f"the process that computes on {self.recipe.device} has ended; start this peer again")


class Replicas(GradientAccumulator):
    """`GradientAccumulator` over its model's device and further ones. `close`, and our death, end their processes."""

    def __init__(
        self,
        model: BloomForCausalLM,
        layout: Layout,
        spec: ModelSpec,
        *,
        others: Sequence[str],
        precision: Precision = "float32",
        checkpointing: bool = False,
    ) -> None:
        super().__init__(model, layout, precision=precision)
        self._parameters = torch.zeros(layout.size).share_memory_()
        context = multiprocessing.get_context("spawn")
        self.devices = 1 + len(others)
        self._replicas = []
        for device in others:
            sums = torch.zeros(layout.size).share_memory_()
            recipe = Recipe(spec, device, precision, checkpointing, torch.get_num_threads(), self._parameters, sums)
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(recipe, there), name=device, daemon=True)
            process.start()
            there.close()
            self._replicas.append(_Replica(recipe, here, process))

    def add(self, batch: TrainingBatch) -> float:
        """As for one device, with about as many samples for each."""
        ids, labels = np.asarray(batch.input_ids), np.asarray(batch.labels)
        cuts = np.array_split(np.arange(len(ids)), 1 + len(self._replicas))
        busy = [(replica, cut) for replica, cut in zip(self._replicas, cuts[1:], strict=True) if len(cut)]
        for replica, cut in busy:
            replica.send("add", ids[cut], labels[cut], self.scale)
        before = self.loss_sum
        try:
            own = SimpleNamespace(input_ids=ids[cuts[0]], labels=labels[cuts[0]], refs=batch.refs[: len(cuts[0])])
            super().add(own)
        finally:
            answers = [replica.answer() for replica, _ in busy]
        for (_, cut), answer in zip(busy, answers, strict=True):
            if isinstance(answer, Exception):
                raise answer
            self.count([batch.refs[i] for i in cut], ids.shape[1], answer)
        return (self.loss_sum - before) / len(ids)

    def settle(self) -> None:
        """Take the replicas' sums, which are zero then."""
        for replica in self._replicas:
            replica.send("give")
        for replica in self._replicas:
            replica.answer()
            self._sum.add_(replica.recipe.sums.to(self.device))
        super().settle()

    def reset(self) -> None:
        """The next sums are of the model as it is now, on all devices."""
        super().reset()
        self._parameters.copy_(torch.from_numpy(self.layout.gather(self.model)))
        for replica in self._replicas:
            replica.send("follow")

    def close(self) -> None:
        for replica in self._replicas:
            replica.pipe.close()
            replica.process.join(END_SECONDS)
            if replica.process.is_alive():
                replica.process.kill()
                replica.process.join()


def serve(recipe: Recipe, pipe: Connection) -> None:
    """A replica's process: does what the lead says until that is gone."""
    from swarm.model.bloom import model_from_vector

    torch.set_num_threads(recipe.threads)
    layout, vector = Layout.of(recipe.spec), recipe.parameters.numpy()
    model = model_from_vector(recipe.spec, vector, recipe.device)
    if recipe.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    sums = GradientAccumulator(model, layout, precision=recipe.precision)

    def follow() -> None:
        layout.scatter(vector, model)
        sums.reset()

    def give() -> bool:
        sums.give(recipe.sums)
        return True

    def add(ids: np.ndarray, labels: np.ndarray, scale: float) -> list[float] | Exception:
        sums.scale = scale
        try:
            return sums.compute(ids, labels)
        except (MemoryShortError, RunFailedError) as error:
            return error

    calls: dict[str, Callable[..., Any]] = {"follow": follow, "give": give, "add": add}
    while True:
        try:
            what, *values = pipe.recv()
        except EOFError:
            return
        answer = calls[what](*values)
        if answer is not None:
            pipe.send(answer)
