"""How large a run is before anything is built: parameters, memory, bytes on the wire, tokens. Closed forms only.

`create --dry-run`, `doctor` and `join` tell a volunteer these numbers first. Parameter counts are exact (and tested
against the published BLOOM models); memory is an estimate for one sample at a time, without torch's own overhead.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from swarm.heap import KEPT_BYTES
from swarm.run.schema import ModelSpec, RunConfig

UPLINKS_MBIT = (20, 100, 1000)
# Codec: (bytes of a value, bytes of a block's scale, values in a block), as in swarm/averaging/codec; a test compares.
WIRE = {"int8-block": (1, 2, 256), "float16": (2, 0, 1), "none": (4, 0, 1)}
# Bytes a parameter: the model's weights, its gradient sum, shared parameters (float32), Adam's two moments.
PRECISIONS = {"float32": (4, 4, 4, 8), "bfloat16": (2, 4, 4, 8), "bfloat16, 8-bit optimizer": (2, 4, 4, 2)}
# Bytes a parameter while a round runs. Both modes: the contribution, what is sent, what comes back, residuals in 16
# bit, and what encoding and applying take for a moment. Mode "local": momentum, anchor and local parameters as well.
EXCHANGE_BYTES = {"gradient": 18, "local": 28}  # measured: `python -m benchmarks.step`
HELD_BYTES = {"gradient": 8, "local": 16}  # of these, outside of rounds: residuals; momentum, anchor, and a delta
BESIDE_BYTES = 570_000_000  # resident before the model: Python, torch, hivemind, transformers 505 MB, the daemon 65


def parameters(model: ModelSpec) -> int:
    """Exact number of trained values of a BLOOM model, the tied output embedding counted once.

    Embedding V*h with its layer norm 2h; per layer: attention 4h^2 + 4h, MLP 8h^2 + 5h, two layer norms 4h; final 2h.
    """
    h = model.hidden_size
    return model.vocab_size * h + 2 * h + model.layers * (12 * h * h + 13 * h) + 2 * h


@dataclass(frozen=True)
class Memory:
    """Bytes that one training peer needs in one precision, with one sample in flight."""

    precision: str
    state_bytes: int  # weights, gradient sum, shared state, and the exchange's buffers
    activation_bytes: int  # of one sample, kept from the forward to the backward pass

    @property
    def total_bytes(self) -> int:
        return self.state_bytes + self.activation_bytes


@dataclass(frozen=True)
class Sizing:
    """The figures of one run. Bytes are bytes; an exchange is one encoded copy of the whole gradient."""

    name: str
    parameters: int
    embedding_parameters: int
    memory: tuple[Memory, ...]
    codec: str
    bytes_per_exchange: int
    bytes_per_exchange_float32: int
    tokens_per_step: int
    steps: int

    @property
    def total_tokens(self) -> int:
        return self.tokens_per_step * self.steps

    def upload_seconds(self, mbit: float) -> float:
        """Time to send what a full peer of a large swarm sends in a step (two exchanges) at `mbit` Mbit/s."""
        return 2 * self.bytes_per_exchange * 8 / (mbit * 1e6)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        value = asdict(self)
        value["memory"] = [asdict(memory) | {"total_bytes": memory.total_bytes} for memory in self.memory]
        value["total_tokens"] = self.total_tokens
        value["upload_seconds"] = {f"{mbit} Mbit/s": round(self.upload_seconds(mbit), 1) for mbit in UPLINKS_MBIT}
        return value

    def describe(self) -> str:
        """What `create --dry-run` prints."""
        share = 100 * self.embedding_parameters / self.parameters
        lines = [
            f"run          {self.name}",
            f"parameters   {self.parameters:,} ({share:.0f} % of them the embedding)",
            f"training     {self.steps:,} steps of {self.tokens_per_step:,} tokens: {self.total_tokens:,} tokens",
            "memory       for one sample at a time, about",
        ]
        lines += [
            f"  {memory.precision:26} {show_bytes(memory.total_bytes):>9}"
            f"  ({show_bytes(memory.state_bytes)} state, {show_bytes(memory.activation_bytes)} activations)"
            for memory in self.memory
        ]
        encoded, plain = show_bytes(self.bytes_per_exchange), show_bytes(self.bytes_per_exchange_float32)
        lines.append(
            f"exchange     {encoded} a step in {self.codec} ({plain} in float32); a full peer sends about twice that:"
        )
        lines += [
            f"  {f'{mbit} Mbit/s uplink':26} {show_seconds(self.upload_seconds(mbit)):>9}" for mbit in UPLINKS_MBIT
        ]
        return "\n".join(lines)


def sizing(config: RunConfig) -> Sizing:
    """The sizing of a configuration or a manifest. Pure; a codec that is not known here counts as float32."""
    count = parameters(config.model)
    return Sizing(
        name=config.name,
        parameters=count,
        embedding_parameters=config.model.vocab_size * config.model.hidden_size,
        memory=tuple(_memory(config, count, precision) for precision in PRECISIONS),
        codec=config.averaging.codec,
        bytes_per_exchange=bytes_per_exchange(count, config.averaging.codec),
        bytes_per_exchange_float32=bytes_per_exchange(count, "none@1"),
        tokens_per_step=config.training.global_batch * config.model.sequence_length,
        steps=config.training.steps,
    )


def bytes_per_exchange(size: int, codec: str) -> int:
    """Bytes of one encoded copy of `size` values, without the headers of frames (under 0.1 % of it)."""
    value, scale, block = WIRE.get(codec.partition("@")[0], WIRE["none"])
    return size * value + -(-size // block) * scale


def _memory(config: RunConfig, count: int, precision: str) -> Memory:
    width = 4 if precision == "float32" else 2
    state = sum(PRECISIONS[precision]) + EXCHANGE_BYTES[config.training.mode]
    return Memory(precision, count * state, activation_bytes(config.model, width))


def cpu_memory(config: RunConfig, samples: int, *, checkpointing: bool = False) -> int:
    """Bytes that a training peer holds at most on a processor, with everything, computing `samples` at once.

    The larger of two moments, a backward pass and a round; or both together, where they overlap. In a round what
    activations have left free is still held (`heap`). Activations in float32 also where products are in 16 bits:
    processors keep copies of both.
    """
    count, mode = parameters(config.model), config.training.mode
    state = sum(PRECISIONS["float32"])
    activations = samples * activation_bytes(config.model, checkpointing=checkpointing)
    overlap = config.training.local.overlap if mode == "local" else config.training.overlap
    if overlap:
        return BESIDE_BYTES + count * (state + EXCHANGE_BYTES[mode]) + activations
    computing = count * (state + HELD_BYTES[mode]) + activations
    exchanging = count * (state + EXCHANGE_BYTES[mode]) + min(activations, KEPT_BYTES)
    return BESIDE_BYTES + max(computing, exchanging)


def host_memory(config: RunConfig) -> int:
    """Bytes that a peer holds at most outside of its GPU, where that computes; its driver's libraries are not in it."""
    mode = config.training.mode
    _, _, shared, moments = PRECISIONS["float32"]
    held = shared + (moments if mode == "gradient" else 0)  # in mode "local" moments are the inner optimizer's
    return BESIDE_BYTES + parameters(config.model) * (held + EXCHANGE_BYTES[mode])


def device_memory(config: RunConfig, samples: int, *, checkpointing: bool = False) -> int:
    """Bytes of a GPU's own memory, computing `samples` at once: weights, their 16-bit copies, sums, moments of mode
    "local", activations. A closed form, not measured: torch's context and workspaces are not in it.
    """
    weights, sums, _, moments = PRECISIONS["float32"]
    each = weights + weights // 2 + sums + (moments if config.training.mode == "local" else 0)
    return parameters(config.model) * each + samples * activation_bytes(config.model, checkpointing=checkpointing)


def activation_bytes(model: ModelSpec, width: int = 4, *, checkpointing: bool = False) -> int:
    """One sample: s*h*34 + 5*a*s^2 a layer at 2 bytes a value (Korthikanti et al. 2022, table 2), and the logits.

    With checkpointing only its input is kept of a layer, and everything of the one that is computed again. The logits
    are kept in the model's precision, and twice in float32 for the loss and its gradient.
    """
    s, h, a = model.sequence_length, model.hidden_size, model.heads
    layer = (34 * s * h + 5 * a * s * s) * width // 2
    layers = layer + model.layers * s * h * width if checkpointing else model.layers * layer
    return layers + s * model.vocab_size * (width + 8)


def show_bytes(size: int) -> str:
    """1.1 GB, 560 MB, 12 kB: decimal units, two or three digits."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}" if size < 10 * scale else f"{size / scale:.0f} {unit}"
    return f"{size} B"


def show_seconds(seconds: float) -> str:
    """0.4 s, 45 s, 7.5 min, 3.1 h."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
