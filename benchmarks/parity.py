"""`python -m benchmarks.parity`: does averaging in 8 bits train as well as averaging in float32?

4 peers, 300 steps of 2,048 tokens of real text, the same plan and seed: the run's own batches, gradients, codec,
reducer's arithmetic, shared update and evaluation, in one process a variant (peers that hold the same state differ
only in their samples, so one model computes the gradients of all four). The text is `--data`, else ../shared/corpus
where it lies beside the checkout, else the starter corpus. Two variants run at a time, one thread each.

`hivemind`: its averager sends each member the encoded *difference* to that member's own tensor, so its members drift
apart; here the state follows the first member, and all gradients are taken there, which flatters it.
gap = 100 x (validation loss - that of float32) / float32. `--noise` adds float32 summed in reverse roster order: how
far rounding alone drives two runs apart. The learning rate is one at which it does not: at 0.003, where 300 steps learn
more, any change of a percent in a gradient ends up to half a percent away, in either direction (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

PEERS = ("a", "b", "c", "d")
CODEC = "int8-block@1"
CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
VARIANTS = ("float32", "feedback", "no_feedback", "hivemind")
GOAL_PERCENT = 0.3
LEARNING_RATE = 1e-3
CONFIG = {
    "name": "parity",
    "model": {"vocab_size": 4096, "hidden_size": 128, "layers": 4, "heads": 4, "sequence_length": 128},
    "averaging": {"codec": CODEC, "span_size": 65_536},
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> dict:
    """Train every variant, print the table, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    data = options.data or (CORPUS if (CORPUS / "train").is_dir() else None)
    variants = VARIANTS + (("reversed",) if options.noise else ())
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        _create(Path(folder) / "run", data, options)
        arguments = [(Path(folder), data, variant, options.validation) for variant in variants]
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            results = dict(zip(variants, pool.map(_train, *zip(*arguments, strict=True)), strict=True))
    base = results["float32"]["losses"]
    print(f"{'validation loss':16}" + "".join(f"{f'step {step}':>12}" for step in base) + f"{'gap %':>10}{'error':>10}")
    gaps = {}
    for variant, result in results.items():
        last = list(result["losses"].values())[-1]
        gaps[variant] = round(100 * (last - list(base.values())[-1]) / list(base.values())[-1], 4)
        losses = "".join(f"{loss:12.4f}" for loss in result["losses"].values())
        print(f"{variant:16}{losses}{gaps[variant]:10.3f}{result['relative_error']:10.5f}")
    print("error: relative L2 error of the average that was applied, mean over the steps")
    report = {
        "gap_percent": gaps["feedback"],
        "gap_percent_no_feedback": gaps["no_feedback"],
        "gap_percent_hivemind": gaps["hivemind"],
        "loss_float32": list(base.values())[-1],
        "within_goal": abs(gaps["feedback"]) <= GOAL_PERCENT,
        "steps": options.steps,
        "learning_rate": options.learning_rate,
        "text": "starter corpus" if data is None else data.name,
        "seconds": round(time.perf_counter() - begin, 1),
    }
    if options.noise:
        report["gap_percent_reversed"] = gaps["reversed"]
    print(json.dumps(report))
    return report


def _create(folder: Path, data: Path | None, options: argparse.Namespace) -> None:
    """The run's folder, as `bloomswarm create` makes it."""
    from peers.commands.create import fill
    from swarm.run.manifest import parse_config

    source = {"kind": "starter"} if data is None else {"kind": "folder", "path": str(data)}
    value = CONFIG | {
        "data": {"sources": [source], "temperature": 0.7, "seed": options.seed},
        "training": {"steps": options.steps, "global_batch": 16},
    }
    warmup_steps = min(20, options.steps // 8)
    value["optimizer"] = {"learning_rate": options.learning_rate, "warmup_steps": warmup_steps}
    value["model"] = value["model"] | {"initial_seed": options.seed + 1}
    folder.mkdir()
    fill(parse_config(value, "benchmarks.parity"), Path(), folder, say=lambda words: None)


def _train(folder: Path, data: Path | None, variant: str, validation: int) -> dict:
    """Losses by step, and the mean relative error of the averages, of one variant. Runs in a process of its own."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import numpy as np
    import torch

    from peers.run_folder import RunFolder
    from swarm.averaging.averager import Averaged, Member
    from swarm.data.batches import Batches
    from swarm.data.plan import Plan
    from swarm.data.store import open_store
    from swarm.data.tokenizer import load
    from swarm.model.bloom import model_from_vector, starting_vector
    from swarm.model.gradient import GradientAccumulator
    from swarm.state.shared import SharedState

    torch.set_num_threads(1)
    run = RunFolder(folder / "run")
    manifest, tokenizer = run.manifest().manifest, load(run.tokenizer())
    store = open_store(manifest.data, tokenizer, 128, root=data, cache=folder / "cache")
    batches = [
        Batches(store, Plan(manifest.data, manifest.training.global_batch, manifest.training.steps), peer)
        for peer in PEERS
    ]
    state = SharedState.initial(manifest, starting_vector(manifest.model))
    model = model_from_vector(manifest.model, state.parameters)
    gradients = GradientAccumulator(model, state.layout)
    average = AVERAGES[variant](state.layout.size, state.span_size)
    share = manifest.training.global_batch // len(PEERS)
    losses, errors = {}, []
    while state.step < manifest.training.steps:
        vectors = []
        for batch in batches:
            gradients.reset()
            batch.begin(state.step, PEERS)
            gradients.add(batch.next(share))
            vectors.append(gradients.contribution().vector)
        mean = average(vectors)
        exact = sum(vector.astype(np.float64) for vector in vectors) / len(vectors)
        errors.append(_error(mean, exact))
        state.apply(Averaged(state.step, mean, tuple(Member(peer, share, float(share)) for peer in PEERS)))
        state.layout.scatter(state.parameters, model)
        if state.step % max(1, manifest.training.steps // 3) == 0:
            losses[state.step] = round(_loss(model, tokenizer, manifest, data, validation), 6)
    return {"losses": losses, "relative_error": float(np.mean(errors))}


def _error(mean, exact) -> float:
    import numpy as np

    applied = np.concatenate([values for _, values in mean.spans()])
    return float(np.linalg.norm(applied - exact) / np.linalg.norm(exact))


def _loss(model, tokenizer, manifest, data: Path | None, windows: int) -> float:
    """Nats a token over all languages' held-out text, `windows` of 128 tokens each."""
    from swarm.data.validation import read_validation
    from swarm.model.evaluation import evaluate

    documents = read_validation(manifest.data, data, limit=400)
    texts = {code: [document.text for document in found] for code, found in documents.items()}
    scores = evaluate(model, tokenizer, texts, sequence_length=128, max_sequences=windows).values()
    return sum(score.loss * score.tokens for score in scores) / sum(score.tokens for score in scores)


def _float32(size: int, span_size: int, turn: int = 1) -> Callable:
    import numpy as np

    from swarm.averaging.mean import FloatMean

    def average(vectors: list):
        total = np.zeros(size, np.float32)
        for vector in vectors[::turn]:
            total += vector * np.float32(1 / len(vectors))
        return FloatMean(total, span_size)

    return average


def _ours(size: int, span_size: int, *, feedback: bool) -> Callable:
    """Four senders and one reducer a span, each with its residual, or with none."""
    from swarm.averaging.aggregator import WeightedMean, reduce_span
    from swarm.averaging.codec import codec_named, encode_with_feedback
    from swarm.averaging.encoded_mean import EncodedMean

    codec = codec_named(CODEC)
    spans = [slice(start, min(start + span_size, size)) for start in range(0, size, span_size)]
    owed: dict[tuple[int, int], object] = {}  # (peer, span) and (-1, span) of its reducer -> residual

    def keep(who: int, index: int, encoded) -> bytes:
        if feedback:
            owed[who, index] = encoded.residual
        return encoded.frame

    def average(vectors: list):
        frames = []
        for index, span in enumerate(spans):
            sent = []
            for peer, vector in enumerate(vectors):
                encoded = encode_with_feedback(codec, vector[span], owed.get((peer, index)))
                sent.append((keep(peer, index, encoded), 1.0))
            length = span.stop - span.start
            reduced = reduce_span(codec, WeightedMean(), length, sent, float(len(sent)), owed.get((-1, index)))
            frames.append(keep(-1, index, reduced))
        return EncodedMean(codec, size, span_size, frames)

    return average


def _hivemind(size: int, span_size: int) -> Callable:
    """What the first of four members holds after hivemind's all-reduce: own tensor + decoded difference to the mean."""
    import numpy as np

    from benchmarks.codec import HIVEMIND_PART, _hivemind_decode, _hivemind_encode
    from swarm.averaging.mean import FloatMean

    def average(vectors: list):
        result = np.empty(size, np.float32)
        for start in range(0, size, HIVEMIND_PART):
            part = slice(start, min(start + HIVEMIND_PART, size))
            received = [_hivemind_decode(_hivemind_encode(vector[part])) for vector in vectors]
            mean = sum(received) / np.float32(len(received))
            delta = _hivemind_decode(_hivemind_encode(mean - received[0]))
            result[part] = vectors[0][part] + delta
        return FloatMean(result, span_size)

    return average


AVERAGES: dict[str, Callable] = {
    "float32": _float32,
    "feedback": lambda size, span: _ours(size, span, feedback=True),
    "no_feedback": lambda size, span: _ours(size, span, feedback=False),
    "hivemind": _hivemind,
    "reversed": lambda size, span: _float32(size, span, -1),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--data", type=Path, help="folder of text (default: ../shared/corpus, else the starter corpus)")
    parser.add_argument("--validation", type=int, default=24, help="windows of 128 tokens a language (default 24)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--noise", action="store_true", help="also float32 summed in reverse roster order")
    return parser


if __name__ == "__main__":
    main()
