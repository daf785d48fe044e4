"""`python -m benchmarks.convergence`: does the swarm train as good a model as one machine with all of the compute?

4 peers on the simulated network in one process, with the run's own text, plan, gradients, inner and outer optimizers,
codec and reducer. All variants go on from one checkpoint, after a warm phase of big-batch steps, and read the same
samples: in mode "local" the j-th inner steps of the peers together read what the big batch reads in its j-th step.

baseline    one machine, AdamW on the big batch, no codec
gradient    4 peers, 8 bits, a round at every step
local20     4 peers, 8 bits, a round after 20 inner steps, outer Nesterov step as `OuterSpec` has it
local100    the same with 100

gap = 100 x (held-out loss - that of the baseline) / baseline, positive is worse; mean over the seeds. The ratio of
bytes is of what a peer sends for each token, against float32 gradients at every step over the same network.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.text import Text, create, text_folder

if TYPE_CHECKING:
    import numpy as np

    from peers.local_work import LocalWork
    from peers.work import GradientWork
    from swarm.averaging.averager import Averaged
    from swarm.manifest import Manifest
    from swarm.schema import OuterSpec
    from swarm.state import SharedState

PEERS = ("a", "b", "c", "d")
SHARE = 8  # samples of a peer in a step
BATCH = SHARE * len(PEERS)
GOALS = {"gradient": 0.3, "local20": 1.0, "local100": 1.5}
BYTES_GOAL = 390
CONFIG: dict[str, Any] = {
    "name": "convergence",
    "model": {"vocab_size": 4096, "hidden_size": 64, "layers": 3, "heads": 4, "sequence_length": 64},
    "optimizer": {"learning_rate": 4e-3, "warmup_steps": 50, "final_fraction": 0.1},
    "averaging": {"codec": "int8-block@1", "span_size": 65_536},
}


@dataclass(frozen=True)
class Variant:
    """inner_steps: of mode "local"; 0 is a round at every step. peers: 1 is the baseline."""

    name: str
    inner_steps: int = 0
    codec: str = "int8-block@1"


VARIANTS = (Variant("gradient"), Variant("local20", 20), Variant("local100", 100))
FLOAT32 = Variant("float32", codec="none@1")


@dataclass(frozen=True)
class Result:
    loss: float
    bytes_per_token: float
    seconds: float


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train every variant for every seed, print the table, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    data, begin = text_folder(options.data), time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        place = Path(folder)
        texts = [Text(place / str(seed), data, options.windows) for seed in range(options.seeds)]
        bases = list(pool.map(prepare, texts, range(options.seeds), *_repeat(options.warm, options.steps, options)))
        jobs = [(text, variant) for variant in VARIANTS for text in texts]
        found = list(pool.map(swarm_loss, *zip(*jobs, strict=True), *_repeat(options.warm, options.steps, jobs)))
        reference = float32_bytes_per_token(texts[0])
    results = {variant.name: found[i * len(texts) : (i + 1) * len(texts)] for i, variant in enumerate(VARIANTS)}
    report = _report(bases, results, reference) | {
        "tokens": (options.warm + options.steps) * BATCH * CONFIG["model"]["sequence_length"],
        "text": "starter corpus" if data is None else data.name,
        "seconds": round(time.perf_counter() - begin, 1),
    }
    print(json.dumps(report))
    return report


def _repeat(warm: int, steps: int, like: Any) -> tuple[list[int], list[int]]:
    count = like.seeds if isinstance(like, argparse.Namespace) else len(like)
    return [warm] * count, [steps] * count


def _report(bases: list[Result], results: dict[str, list[Result]], reference: float) -> dict[str, Any]:
    base = [one.loss for one in bases]
    print(f"{'variant':12}{'held-out loss, each seed':>28}{'gap %':>10}{'bytes/token':>14}{'fewer':>9}{'seconds':>9}")
    print(f"{'baseline':12}{_losses(bases):>28}{0:10.3f}{'':14}{'':9}{bases[0].seconds:9.0f}")
    report: dict[str, Any] = {}
    for name, ones in results.items():
        gaps = [100 * (one.loss - loss) / loss for one, loss in zip(ones, base, strict=True)]
        gap, ratio = sum(gaps) / len(gaps), reference / ones[0].bytes_per_token
        report |= {f"{name}_gap_percent": round(gap, 3), f"bytes_ratio_{name}": round(ratio, 1)}
        row = f"{name:12}{_losses(ones):>28}{gap:10.3f}{ones[0].bytes_per_token:14.2f}"
        print(f"{row}{f'{ratio:.0f}x':>9}{ones[0].seconds:9.0f}")
    within = all(report[f"{name}_gap_percent"] <= goal for name, goal in GOALS.items())
    return report | {"within_goals": within and report["bytes_ratio_local100"] >= BYTES_GOAL}


def _losses(ones: list[Result]) -> str:
    return "  ".join(f"{one.loss:.4f}" for one in ones)


# --- in processes of their own ---------------------------------------------------------------------------------------


def prepare(text: Text, seed: int, warm: int, steps: int) -> Result:
    """Make the run, train to the checkpoint that all variants share, save it, and go on with the big batch."""
    import numpy as np
    import torch

    from peers.work import GradientWork
    from swarm.averaging.averager import Averaged, Member
    from swarm.averaging.mean import FloatMean
    from swarm.model.bloom import model_from_vector, starting_vector
    from swarm.model.gradient import GradientAccumulator
    from swarm.model.memory import MicroBatch
    from swarm.state import SharedState

    torch.set_num_threads(1)
    create(text.folder, text.data, seed, CONFIG | {"training": {"steps": warm + steps, "global_batch": BATCH}})
    begin = time.perf_counter()
    state = SharedState.initial(text.manifest, starting_vector(text.manifest.model))
    sums = GradientAccumulator(model_from_vector(text.manifest.model, state.parameters), state.layout)
    work = GradientWork(state, sums, text.batches("one", BATCH), MicroBatch(BATCH, print), lambda samples: None)
    while state.step < warm + steps:
        if state.step == warm:
            np.savez(text.folder / "warm.npz", *state.vectors)
        gift = work.contribution(state.step, Alone())
        mean = FloatMean(gift.vector, state.span_size)
        outcome = Averaged(state.step, mean, (Member("one", gift.samples, gift.weight),))
        state.apply(outcome)
        work.update(outcome)
    return Result(text.loss(sums.model), 0.0, time.perf_counter() - begin)


class Alone:
    """What the baseline's work asks an averager: is the batch full, and who else reads."""

    def due(self, step: int, samples: int) -> bool:
        return samples >= BATCH

    def roster(self) -> tuple[str, ...]:
        return ("one",)


def swarm_loss(
    text: Text, variant: Variant, warm: int, steps: int, outer: OuterSpec | None = None, overlap: int = 0
) -> Result:
    """The held-out loss of a swarm that goes on from the checkpoint."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    begin = time.perf_counter()
    manifest = _changed(text.manifest, variant, warm + steps, outer)
    vectors = list(np.load(text.folder / "warm.npz").values())
    swarm = Swarm(text, manifest, warm // max(1, variant.inner_steps), vectors, variant)
    sent = [swarm.round(overlap) for _ in range(steps // max(1, variant.inner_steps))]
    tokens = steps * SHARE * manifest.model.sequence_length
    swarm.check_replicas()
    return Result(text.loss(swarm.settled_model()), sum(sent) / tokens, time.perf_counter() - begin)


def float32_bytes_per_token(text: Text) -> float:
    """What a peer sends with float32 gradients at every step: one real round, counted."""
    import numpy as np

    manifest = _changed(text.manifest, FLOAT32, 10, None)
    vectors = list(np.load(text.folder / "warm.npz").values())
    return Swarm(text, manifest, 0, vectors, FLOAT32).round() / (SHARE * manifest.model.sequence_length)


def _changed(manifest: Manifest, variant: Variant, steps: int, outer: OuterSpec | None) -> Manifest:
    from swarm.manifest import Manifest

    value = manifest.model_dump(mode="json")
    value["averaging"]["codec"] = variant.codec
    if variant.inner_steps:
        local = {"inner_steps": variant.inner_steps, "inner_batch": SHARE, "overlap": False}
        local |= {"outer": outer.model_dump()} if outer is not None else {}
        value["training"] |= {"mode": "local", "steps": steps // variant.inner_steps, "local": local}
    return Manifest.model_validate_json(json.dumps(value))


class Swarm:
    """The peers of one variant, one after another in this thread, over a simulated network."""

    def __init__(self, text: Text, manifest: Manifest, step: int, vectors: list[np.ndarray], variant: Variant) -> None:
        from swarm.averaging.simulated import SimulatedSwarm
        from swarm.model.layout import Layout

        self.text, self.manifest, self.length = text, manifest, max(1, variant.inner_steps)
        self.network = SimulatedSwarm(manifest.averaging, Layout.of(manifest.model).size).resume(step, PEERS)
        self.states = {name: self._state(step, vectors) for name in PEERS}
        self.averagers = {name: self.network.join(name, SHARE * self.length) for name in PEERS}
        self.works = {name: self._work(name) for name in PEERS}

    def _state(self, step: int, vectors: list[np.ndarray]) -> SharedState:
        from dataclasses import replace

        from swarm.state import SharedState

        state = SharedState.initial(self.manifest, vectors[0].copy())
        if self.manifest.training.mode == "gradient":
            state = replace(state, vectors=tuple(vector.copy() for vector in vectors))
        state.step = step
        return state

    def _work(self, name: str) -> GradientWork | LocalWork:
        from peers.local_work import LocalWork
        from peers.work import GradientWork
        from swarm.model.bloom import model_from_vector
        from swarm.model.gradient import GradientAccumulator
        from swarm.model.inner import InnerOptimizer
        from swarm.model.memory import MicroBatch

        state, batches = self.states[name], self.text.batches(name, BATCH * self.length)
        model = model_from_vector(self.manifest.model, state.parameters)
        sums, size = GradientAccumulator(model, state.layout), MicroBatch(SHARE, print)
        if self.manifest.training.mode == "gradient":
            return GradientWork(state, sums, batches, size, lambda samples: None)
        inner = InnerOptimizer(model, state.layout, self.manifest.optimizer)
        return LocalWork(self.manifest, state, sums, inner, batches, micro_batch=size, tell=lambda samples: None)

    def round(self, overlap: int = 0) -> float:
        """Everybody's contribution, the round, everybody's update; mean bytes that a peer sent.

        overlap: inner steps that each peer takes while the round is under way.
        """
        from swarm.averaging.averager import Averaged

        step = self.network.step
        gifts = {name: work.contribution(step, self.averagers[name]) for name, work in self.works.items()}
        for work in self.works.values():
            for _ in range(overlap):
                work.train(step + 1)
        outcomes = self.network.round(gifts)
        for name, outcome in outcomes.items():
            assert isinstance(outcome, Averaged), outcome
            self._apply(name, outcome)
        return sum(outcome.stats.bytes_sent for outcome in outcomes.values()) / len(PEERS)

    def _apply(self, name: str, outcome: Averaged) -> None:
        self.states[name].apply(outcome)
        self.works[name].update(outcome)

    def check_replicas(self) -> None:
        assert len({state.digest() for state in self.states.values()}) == 1, "the replicas differ"

    def settled_model(self) -> Any:
        """A model with the shared parameters."""
        from swarm.model.bloom import model_from_vector

        return model_from_vector(self.manifest.model, self.states[PEERS[0]].parameters)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convergence", description=__doc__.split("\n")[0])
    parser.add_argument("--warm", type=int, default=400, help="big-batch steps before the variants part (default 400)")
    parser.add_argument("--steps", type=int, default=1200, help="steps of each variant after that (default 1200)")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--data", type=Path, help="folder of text (default: ../shared/corpus, else the starter corpus)")
    parser.add_argument("--windows", type=int, default=32, help="of held-out text, a language (default 32)")
    return parser


if __name__ == "__main__":
    main()
