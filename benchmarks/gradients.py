"""Real gradients to measure codecs on: a small BLOOM in its first steps on the starter corpus.

Random numbers flatter a codec: real gradients have rows of zeros (tokens that did not occur), tensors of very
different scales side by side, and outliers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

STARTER = Path(__file__).resolve().parents[1] / "swarm" / "data" / "starter" / "train"
Tensors = dict[str, np.ndarray]
BATCH, LENGTH = 8, 128  # sequences and tokens each in a step
LOCAL_STEPS = 20  # of a pseudo-gradient


def kind(name: str) -> str:
    """The kind of a BLOOM parameter: embedding, norm, bias, attention or mlp."""
    if "word_embeddings.weight" in name:
        return "embedding"
    if "layernorm" in name or "ln_f" in name:
        return "norm"
    if name.endswith("bias"):
        return "bias"
    return "attention" if "attention" in name else "mlp"


def snapshots(steps: int, *, seed: int = 0) -> dict[str, Tensors]:
    """Gradients at steps 0, a third and the last, and the pseudo-gradient of the last 20 steps, by tensor name."""
    import torch

    model, tokens = _model(seed), _tokens(4096)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(seed)
    wanted, found, anchor = {0, steps // 3, steps}, {}, {}
    for step in range(steps + 1):
        if step == max(0, steps - LOCAL_STEPS):
            anchor = {name: value.detach().clone() for name, value in model.named_parameters()}
        starts = rng.integers(0, len(tokens) - LENGTH, BATCH)
        ids = torch.from_numpy(np.stack([tokens[start : start + LENGTH] for start in starts]))
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        if step in wanted:
            found[f"step {step}"] = {
                name: value.grad.detach().numpy().copy() for name, value in model.named_parameters()
            }
        optimizer.step()
    found[f"pseudo {LOCAL_STEPS}"] = {
        name: (anchor[name] - value.detach()).numpy() for name, value in model.named_parameters()
    }
    return found


def flat(tensors: Tensors) -> np.ndarray:
    """The tensors as one vector (size,) float32."""
    return np.concatenate([value.reshape(-1) for value in tensors.values()])


def _model(seed: int):  # a transformers model; the import is late
    import torch
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(seed)
    config = BloomConfig(vocab_size=4096, hidden_size=128, n_layer=4, n_head=4, use_cache=False)
    return BloomForCausalLM(config).train()


def _tokens(vocabulary: int) -> np.ndarray:
    """The starter corpus, languages in turn, as one row of token ids, int64."""
    from tokenizers import ByteLevelBPETokenizer

    files = sorted(STARTER.glob("*.jsonl"))
    columns = [[json.loads(line)["text"] for line in path.open(encoding="utf-8")] for path in files]
    texts = [text for row in zip(*columns, strict=False) for text in row]
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=vocabulary, show_progress=False)
    return np.concatenate([np.array(encoded.ids, np.int64) for encoded in tokenizer.encode_batch(texts)])
