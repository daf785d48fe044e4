"""`python -m benchmarks.codec_candidates`: the 8-bit maps, blocks and scales that `int8-block@1` was chosen from.

Relative L2 error on real gradients and a pseudo-gradient, by tensor kind. Linear codes of a block's largest magnitude
with the scale in float32, bfloat16 (rounded up) or float16 (nearest); and bitsandbytes' dynamic map, which puts its
codes densely near zero. Overhead is what the scales add to a byte a value.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence

import numpy as np

TOP = 127
BLOCKS = (64, 256, 1024, 4096)


def main(argv: Sequence[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec_candidates", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=60, help="training steps before the last gradient (default 60)")
    options = parser.parse_args(argv)
    from benchmarks.gradients import flat, kind, snapshots

    result: dict[str, dict[str, float]] = {}
    for snapshot, tensors in snapshots(options.steps).items():
        by_kind: dict[str, list[np.ndarray]] = {}
        for name, values in tensors.items():
            by_kind.setdefault(kind(name), []).append(values.reshape(-1))
        parts = {group: np.concatenate(values) for group, values in by_kind.items()} | {"all": flat(tensors)}
        print(f"\n{snapshot:32}{'overhead':>10}" + "".join(f"{group:>12}" for group in parts))
        for name, (overhead, coding) in candidates().items():
            errors = {group: _error(values, coding(values)) for group, values in parts.items()}
            print(f"{name:32}{100 * overhead:9.2f}%" + "".join(f"{error:12.5f}" for error in errors.values()))
            result.setdefault(name, {})[snapshot] = round(errors["all"], 6)
    print(json.dumps(result))
    return result


def candidates() -> dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]]:
    """name -> (scale bytes a value, values -> decoded values)."""
    found: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {}
    scales = {"float32": (4, lambda s: s), "bfloat16 up": (2, _bfloat16_up), "float16": (2, _float16)}
    for block in BLOCKS:
        for name, (size, rounding) in scales.items():
            found[f"linear, {block}, {name}"] = (size / block, lambda v, b=block, r=rounding: _linear(v, b, r))
        if block >= 256:
            found[f"bitsandbytes, {block}, float32"] = (4 / block, lambda v, b=block: _dynamic(v, b))
    return found


def _error(values: np.ndarray, decoded: np.ndarray) -> float:
    exact = values.astype(np.float64)
    return float(np.linalg.norm(exact - decoded) / max(np.linalg.norm(exact), 1e-300))


def _linear(values: np.ndarray, block: int, rounding: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    blocks = np.zeros((-(-len(values) // block), block), np.float32)
    blocks.reshape(-1)[: len(values)] = values
    scale = rounding(np.maximum(np.abs(blocks).max(1) / np.float32(TOP), np.float32(2.0**-126)))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.clip(np.nan_to_num(np.rint(blocks / scale)), -TOP, TOP)
    return (codes * scale).reshape(-1)[: len(values)]


def _bfloat16_up(scale: np.ndarray) -> np.ndarray:
    return ((scale.view(np.uint32) + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)


def _float16(scale: np.ndarray) -> np.ndarray:
    return scale.astype(np.float16).astype(np.float32)


def _dynamic(values: np.ndarray, block: int) -> np.ndarray:
    import torch
    from bitsandbytes.functional import dequantize_blockwise, quantize_blockwise

    codes, state = quantize_blockwise(torch.from_numpy(values.copy()), blocksize=block)
    return dequantize_blockwise(codes, state).numpy()


if __name__ == "__main__":
    main()
