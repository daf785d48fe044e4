"""`python -m benchmarks.codec [--codec int8-block@1]`: a codec against hivemind 1.1.12's 8-bit blockwise codec.

Both run in this process, turn by turn, on the same real gradients, each in its own unit (ours: spans of 2^18 values
with header and checksum; hivemind: parts of 2^19 bytes, serialized, as its averager sends them). A ratio is the
median over the turns, so that a busy machine slows both. Ours decodes into one buffer that is used again, as the
reducer does; "fresh" allocates every span's result. Threads: 1 by default, what a peer on a shared machine has.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from statistics import median

SPAN = 2**18
HIVEMIND_PART = 2**17  # values: hivemind's DEFAULT_PART_SIZE_BYTES of 2^19 bytes
GOALS = {"encode_ratio": 6.0, "decode_ratio": 3.0, "error_ratio": 0.75}


def main(argv: Sequence[str] | None = None) -> dict:
    """Measure, print the tables, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # bitsandbytes reads nothing else, and only when loaded
    import torch

    from benchmarks.gradients import flat, snapshots

    torch.set_num_threads(options.threads)
    codec = _codec(options.codec)
    grads = snapshots(options.steps, seed=options.seed)
    errors = _errors(codec, grads)
    result = {"codec": codec.label, "threads": options.threads} | errors
    import numpy as np

    result |= _speeds(codec, np.concatenate([flat(tensors) for tensors in grads.values()]), options.repeat)
    goals = ", ".join(f"{name} {value}" for name, value in GOALS.items())
    print(f"goals for int8-block@1: {goals} at most for error, at least for speed")
    print(json.dumps(result))
    return result


def _codec(name: str):
    """A registered codec by its label, or one's own as module:Class (docs/extending.md)."""
    import importlib
    import sys

    from swarm.averaging.codec import codec_named

    module, colon, kind = name.partition(":")
    if not colon:
        return codec_named(name)
    sys.path.insert(0, os.getcwd())
    return getattr(importlib.import_module(module), kind)()


def _errors(codec, grads: dict) -> dict:
    """Relative L2 error per snapshot and tensor kind, beside hivemind's; `error_ratio` is the worst snapshot's."""
    import numpy as np

    from benchmarks.gradients import flat, kind

    print(f"{'relative L2 error':24}{'kind':12}{codec.label:>14}{'hivemind':>12}{'ratio':>8}")
    worst, own = 0.0, {}
    for name, tensors in grads.items():
        vector = flat(tensors)
        decoded = np.concatenate(_decode_all(codec, _encode_all(codec, vector), len(vector)))
        sums: dict[str, np.ndarray] = {}
        start = 0
        for tensor, values in tensors.items():
            ours = decoded[start : start + values.size].astype(np.float64)
            start += values.size
            exact = values.reshape(-1).astype(np.float64)
            theirs = _hivemind_decode(_hivemind_encode(values.reshape(-1)))
            terms = np.array([exact @ exact, ((exact - ours) ** 2).sum(), ((exact - theirs) ** 2).sum()])
            for group in (kind(tensor), "all"):
                sums[group] = sums.get(group, np.zeros(3)) + terms
        for group in sorted(sums, key=lambda item: (item == "all", item)):
            norm, ours, theirs = np.sqrt(sums[group])
            print(f"{name:24}{group:12}{ours / norm:14.5f}{theirs / norm:12.5f}{ours / theirs:8.2f}")
        norm, ours, theirs = np.sqrt(sums["all"])
        worst, own[name] = max(worst, ours / theirs), round(ours / norm, 6)
    return {"error_ratio": round(worst, 4), "relative_error": own}


def _speeds(codec, vector, repeat: int) -> dict:
    """Throughputs in GB/s of float32 and ratios, medians over `repeat` turns."""
    import numpy as np

    from swarm import compiled
    from swarm.averaging.codec import encode_with_feedback, frame_bytes

    print("compiled by numba:", "yes" if compiled.ready() else "no, by numpy and torch")
    spans = [vector[start : start + SPAN] for start in range(0, len(vector), SPAN)]
    frames, parts = _encode_all(codec, vector), _hivemind_encode(vector)
    residual, buffer, copy = np.zeros(SPAN, np.uint16), np.empty(SPAN, np.float32), np.empty_like(vector)
    work: dict[str, Callable[[], object]] = {
        "memcpy": lambda: np.copyto(copy, vector),
        "hivemind encode": lambda: _hivemind_encode(vector),
        "encode": lambda: _encode_all(codec, vector),
        "encode with feedback": lambda: [encode_with_feedback(codec, span, residual[: len(span)]) for span in spans],
        "hivemind decode": lambda: [_hivemind_decode([part]) for part in parts],
        "decode": lambda: _decode_all(codec, frames, len(vector), buffer),
        "decode fresh": lambda: _decode_all(codec, frames, len(vector)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeat + 1):
        for name, run in work.items():
            begin = time.perf_counter()
            run()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - begin)
    rates = {name: vector.nbytes / 1e9 / median(times) for name, times in seconds.items()}
    print(f"\n{'GB/s of float32':24}{'median':>10}{'of memcpy':>12}")
    for name, rate in rates.items():
        print(f"{name:24}{rate:10.2f}{rate / rates['memcpy']:12.2f}")

    def ratio(ours: str, theirs: str) -> float:
        return round(median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True)), 3)

    wire = sum(frame_bytes(codec, len(span)) for span in spans)
    return {
        "encode_ratio": ratio("encode", "hivemind encode"),
        "decode_ratio": ratio("decode", "hivemind decode"),
        "memcpy_fraction": ratio("encode", "memcpy"),
        "decode_memcpy_fraction": ratio("decode", "memcpy"),
        "feedback_ratio": ratio("encode with feedback", "hivemind encode"),
        "decode_fresh_ratio": ratio("decode fresh", "hivemind decode"),
        "bytes_per_value": round(wire / len(vector), 5),
        "gigabytes_per_second": {name: round(rate, 3) for name, rate in rates.items()},
        "values": len(vector),
    }


def _encode_all(codec, vector) -> list[bytes]:
    from swarm.averaging.codec import encode

    return [encode(codec, vector[start : start + SPAN]) for start in range(0, len(vector), SPAN)]


def _decode_all(codec, frames, size: int, buffer=None) -> list:
    from swarm.averaging.codec import decode

    lengths = [min(SPAN, size - start) for start in range(0, size, SPAN)]
    return [
        decode(codec, frame, length, None if buffer is None else buffer[:length])
        for frame, length in zip(frames, lengths, strict=True)
    ]


def _hivemind_encode(vector) -> list:
    import torch
    from hivemind.compression import serialize_torch_tensor
    from hivemind.proto import runtime_pb2

    parts = torch.from_numpy(vector).split(HIVEMIND_PART)
    return [serialize_torch_tensor(part, runtime_pb2.BLOCKWISE_8BIT) for part in parts]


def _hivemind_decode(parts):
    import numpy as np
    from hivemind.compression import deserialize_torch_tensor

    decoded = [deserialize_torch_tensor(part).numpy() for part in parts]
    return decoded[0] if len(decoded) == 1 else np.concatenate(decoded)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec", description=__doc__.split("\n")[0])
    parser.add_argument("--codec", default="int8-block@1", help="name@version of a registered codec, or module:Class")
    parser.add_argument("--threads", type=int, default=1, help="for both sides (default 1)")
    parser.add_argument("--repeat", type=int, default=15, help="turns (default 15)")
    parser.add_argument("--steps", type=int, default=60, help="training steps before the last gradient (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
