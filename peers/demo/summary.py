"""What the demo leaves behind: the summary for a person, the loss curve, and how far the replicas are apart."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from peers.demo.follow import Followed

BARS = "▁▂▃▄▅▆▇█"


def print_summary(result: dict[str, Any], folder: Path) -> None:
    print()
    print(f"{result['finished']} peers trained {result['steps']} steps in {result['wall_seconds']:.0f} s.")
    if result["restarts"]:
        often = ", ".join(f"{name} {times}" for name, times in result["restarts"].items())
        print(f"Killed on the way, and started again: {often}.")
    if result["losses"]:
        print(f"Loss {result['first_loss']:.3f} -> {result['last_loss']:.3f}   {sparkline(result['losses'])}")
    print("\nBits per byte on held-out text (lower is better):")
    for language, row in sorted(result["validation"].items()):
        print(f"  {language:4} {row['before']:6.3f} -> {row['after']:6.3f}")
    rounds, traffic = result["rounds"], result["bytes_per_parameter_per_step"]
    print(f"\nRounds: {rounds['committed']} committed, {rounds['missed']} missed (summed over peers).")
    print(f"Bytes per parameter and step: {traffic['sent']:.2f} sent, {traffic['received']:.2f} received.")
    digests = set(result["parameter_digests"].values())
    if len(digests) == 1:
        print(f"All replicas are identical: {next(iter(digests))[:16]}...")
    else:
        print(f"Replicas differ by at most {result['parameter_drift']:.2e} ({len(digests)} digests).")
    if result["samples"]:
        print("\nWhat it writes after these few minutes (do not expect sense yet):")
        for sample in result["samples"]:
            print(f"  [{sample['language']}] {' '.join(sample['text'].split())[:100]}")
    print(f"\nThe model:    {result['checkpoint']}")
    print(f"Loss curve:   {folder / 'loss.png'}")
    print(f"Load it:      bloomswarm export {result['checkpoint']} --to my-model")
    print("              then AutoModelForCausalLM.from_pretrained('my-model')")
    print(f"Try next:     bloomswarm eval {result['checkpoint']}")
    print("              bloomswarm create configs/small.toml --dir my-run    (README: your own run, with friends)")


def sparkline(values: list[float], width: int = 48) -> str:
    """`values` as one line of block characters, averaged down to at most `width` of them."""
    chunks = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    means = [float(chunk.mean()) for chunk in chunks]
    low, high = min(means), max(means)
    return "".join(BARS[round((mean - low) / (high - low or 1.0) * (len(BARS) - 1))] for mean in means)


def loss_curve(peers: list[Followed], path: Path) -> None:
    """Training loss by step, one line a peer, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
    for peer in peers:
        points = [(event["step"], event["loss"]) for event in peer.steps if event.get("loss") is not None]
        axes.plot([step for step, _ in points], [loss for _, loss in points], label=peer.name, linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def parameter_drift(checkpoints: list[Path]) -> float:
    """Largest absolute difference between the parameters of any peer and those of the first."""
    first = read_parameters(checkpoints[0])
    return max((float(np.abs(read_parameters(other) - first).max()) for other in checkpoints[1:]), default=0.0)


def read_parameters(checkpoint: Path) -> np.ndarray:
    """The flat parameter vector of a checkpoint, read from its safetensors file without torch."""
    path = checkpoint / "state.safetensors"
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    places = [entry["data_offsets"] for name, entry in header.items() if name.startswith("parameters/")]
    begin, end = min(place[0] for place in places), max(place[1] for place in places)
    return np.fromfile(path, dtype="<f4", count=(end - begin) // 4, offset=8 + length + begin)
