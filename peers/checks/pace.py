"""How fast this machine computes this run's model: one micro-batch for real, with weights that nobody needs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from peers.checks.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from swarm.run.manifest import Manifest
    from swarm.run.schema import RunConfig
    from swarm.settings import Settings

APPLIED_VALUES = 1 << 20
ROUND_VALUES = 1 << 23  # too many for a processor's cache, as a real vector is
TRIES, MOST_TRIES, TRY_SECONDS, WARM_TURNS = 3, 30, 3.0, 2
MOVES = {"gradient": 5, "local": 8}  # of a whole vector in memory, between model, contribution and state
COMPARED = 16  # of the state one part in so many is hashed in a round, and all of it at checkpoints
ROUND_SECONDS, PEER_SECONDS = 0.03, 0.006  # of a round with nothing in it: `benchmarks.step`, `benchmarks.rounds`
SLOW_SHARE = 0.01  # of the swarm's work: below it, the machine helps more in another way


class Pace:
    """others_per_second: what the swarm does without us. It also tells what a swarm of such peers would be."""

    name = "compute"

    def __init__(
        self,
        manifest: Manifest,
        settings: Settings,
        others_per_second: float,
        measure: Callable[[Manifest, Settings], float] | None = None,
    ) -> None:
        self.manifest, self.settings, self.others = manifest, settings, others_per_second
        self.measure = measure or samples_per_second

    def look(self) -> Finding:
        from peers.training.outlook import PEERS, outlook
        from swarm.errors import SwarmError
        from swarm.model.memory import MemoryShortError
        from swarm.run.sizing import show_bytes, show_seconds

        fix = "close other programs, or help without training: bloomswarm assist LINK"
        try:
            here = outlook(self.manifest, self.settings, self.measure)
        except (SwarmError, MemoryShortError) as error:
            return fail(self.name, f"one micro-batch of this model cannot be computed here: {error}", fix)
        own, seconds, moved = here.samples_per_second, here.step_seconds, here.bytes_per_hour
        if own is None or seconds is None or moved is None:
            return fail(self.name, f"one micro-batch of this model takes, on {here.device}, {here.needs()}", fix)
        share = own / (own + self.others)
        words = f"on {here.device}: {own:.1f} samples/s ({own * self.manifest.model.sequence_length:,.0f} tokens/s)"
        words += f", {100 * share:.0f} % of the swarm" if self.others else ""
        words += f"; {PEERS} such peers: {show_seconds(seconds)} a step, {show_bytes(round(moved))} an hour each way"
        values = {"samples_per_second": own, "share": share, "step_seconds": seconds, "bytes_per_hour": moved}
        values |= {"device": here.device}
        if share < SLOW_SHARE:
            fix = "join with a GPU (--device cuda); or average for others: bloomswarm assist LINK"
            return warn(self.name, words, fix, **values)
        return ok(self.name, words, **values)


def samples_per_second(manifest: RunConfig, settings: Settings) -> float:
    """Of a peer that is warm: micro-batches forward and backward, and in mode "local" inner steps, one after another.

    As they come in training: an inner step finds in the cache what a micro-batch has left there, and the other way
    round. SwarmError, MemoryShortError where it cannot be.
    """
    import numpy as np

    from peers.training.device import choose_device
    from peers.wiring import inner_optimizer, micro_batch
    from swarm.model.bloom import model_from_vector
    from swarm.model.gradient import GradientAccumulator
    from swarm.model.initial import quick_weights
    from swarm.model.layout import Layout
    from swarm.model.precision import best_precision

    def quiet(words: str) -> None:
        """What is said of the device is a finding of its own."""

    spec, layout = manifest.model, Layout.of(manifest.model)
    device = choose_device(settings.device, quiet)
    precision = best_precision(device) if settings.precision == "auto" else settings.precision
    model = model_from_vector(spec, quick_weights(layout), device)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    sums = GradientAccumulator(model, layout, precision=precision)
    size = micro_batch(manifest, settings, quiet, device=device).size
    ids = np.random.default_rng(0).integers(0, spec.vocab_size, (size, spec.sequence_length))
    batch = SimpleNamespace(input_ids=ids, labels=ids, refs=[SimpleNamespace(language="en")] * size)
    inner = inner_optimizer(manifest, sums, settings, quiet) if manifest.training.mode == "local" else None

    def stepping() -> None:
        sums.settle()
        if inner is not None:
            inner.step(1.0 / size, 1e-9)
        sums.reset()

    adding, steps = _turns([partial(sums.add, batch), stepping])
    each = manifest.training.local.inner_batch if inner is not None else manifest.training.samples_due(1)
    return 1.0 / (adding / size + steps / each)


def _turns(works: Sequence[Callable[[], object]]) -> list[float]:
    """Median seconds of each, in turns, once warm: three, and as many as fit into a few seconds."""
    for _ in range(WARM_TURNS):
        for work in works:
            work()
    began, taken = time.perf_counter(), []
    while len(taken) < TRIES or (len(taken) < MOST_TRIES and time.perf_counter() - began < TRY_SECONDS):
        taken.append([_seconds(work) for work in works])
    return [statistics.median(each) for each in zip(*taken, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def round_seconds(config: RunConfig, peers: int) -> float:
    """What a peer computes in a round of so many equals, on a part of the vector, and the rest in proportion.

    It encodes its contribution, decodes as much as one vector as a reducer, encodes its share of the mean, decodes and
    applies the whole mean, moves vectors between model and state, and hashes a part of the state; the messages cost
    what they cost in a round of nothing. The time that the bytes take on the line is not in it. Codec and update
    are measured as they are at a peer's start; once compiled (`swarm.compiled`) they take a third of that.
    """
    import numpy as np

    from swarm.averaging.codec import codec_named, decode, encode_with_feedback
    from swarm.digest import content_digest
    from swarm.run.sizing import parameters
    from swarm.update.rule import rule_of

    size, codec = parameters(config.model), codec_named(config.averaging.codec)
    part, rule = slice(0, min(size, ROUND_VALUES)), rule_of(config, ())
    values = np.random.default_rng(0).standard_normal(part.stop, np.float32) * np.float32(1e-3)
    vectors = tuple(np.zeros(part.stop, np.float32) for _ in range(1 + len(rule.names)))
    first = encode_with_feedback(codec, values, None)

    def decoding() -> None:
        decode(codec, first.frame, part.stop)

    def updating() -> None:
        rule.begin(1, 1.0)
        rule.update(part, values, vectors)

    def fastest(work: Callable[[], object]) -> float:
        work()
        return statistics.median(_seconds(work) for _ in range(TRIES))

    encode = fastest(lambda: encode_with_feedback(codec, values, first.residual))
    move, hashed = fastest(values.copy), fastest(lambda: content_digest(values.data))
    whole = (1 + 1 / peers) * encode + 2 * fastest(decoding) + fastest(updating)
    whole += MOVES[config.training.mode] * move
    whole += (1 / COMPARED + 1 / config.training.checkpoint_every) * len(vectors) * hashed
    return whole * size / part.stop + ROUND_SECONDS + peers * PEER_SECONDS


def apply_seconds(manifest: Manifest) -> float:
    """Of one round, on this machine: the shared update of a part of the vector, and the rest in proportion."""
    import numpy as np

    from swarm.run.sizing import parameters
    from swarm.update.rule import rule_of

    size = parameters(manifest.model)
    part, rule = slice(0, min(size, APPLIED_VALUES)), rule_of(manifest, ())
    vectors = tuple(np.zeros(part.stop, np.float32) for _ in range(1 + len(rule.names)))
    rule.begin(1, 1.0)
    rule.update(part, np.zeros(part.stop, np.float32), vectors)
    began = time.perf_counter()
    rule.update(part, np.zeros(part.stop, np.float32), vectors)
    return (time.perf_counter() - began) * size / part.stop
