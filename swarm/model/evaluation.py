"""How well a model predicts held-out text, language by language, and what it writes.

Method: the documents of a language are joined as in training, end-of-text before the first and after each, and cut
into windows of `sequence_length` predicted tokens that do not overlap. Every token is predicted exactly once, those of
the last, shorter window included, from the tokens before it in its window (so the first of a window have little
context: cheap and a little pessimistic, the same for every model). The end of a document is predicted too. Bits per
byte divides by the UTF-8 bytes of the text, which no tokenizer can change, so tokenizers compare fairly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np
import torch
from transformers import BloomForCausalLM

from swarm.data.tokenizer import Tokenizer
from swarm.errors import DataError, RunFailedError
from swarm.model.gradient import IGNORED, sample_losses
from swarm.model.memory import MemoryShortError, is_out_of_memory

WINDOWS = 8  # computed at once


@dataclass(frozen=True)
class Score:
    """Of one language. loss: nats a predicted token. bytes: UTF-8 bytes of the text. tokens: predicted ones."""

    loss: float
    bits_per_byte: float
    bytes: int
    tokens: int
    bytes_per_token: float
    tokens_per_byte: float  # what the tokenizer makes of this language: high where it is treated badly

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def evaluate(
    model: BloomForCausalLM,
    tokenizer: Tokenizer,
    documents: Mapping[str, Iterable[str]],
    *,
    sequence_length: int,
    max_sequences: int | None = None,
) -> dict[str, Score]:
    """The score of each language. DataError where a language has no text.

    max_sequences: take whole documents in order until they fill this many windows: a fixed subset, cheap, comparable.
    """
    scores = {}
    for language, texts in documents.items():
        budget = None if max_sequences is None else max_sequences * sequence_length
        stream, size_bytes = _stream(texts, tokenizer, budget)
        if size_bytes == 0:
            raise DataError(f"no text in {language} to evaluate on; add some, or leave the language out")
        nats, tokens = _score(model, stream, sequence_length)
        scores[language] = Score(
            loss=nats / tokens,
            bits_per_byte=nats / math.log(2) / size_bytes,
            bytes=size_bytes,
            tokens=tokens,
            bytes_per_token=size_bytes / tokens,
            tokens_per_byte=tokens / size_bytes,
        )
    return scores


def bits_per_byte(
    model: BloomForCausalLM, windows: np.ndarray, token_bytes: np.ndarray, *, stop: Callable[[], bool] = bool
) -> float | None:
    """Over (n, s) token ids, of which s - 1 a window are predicted, one window at a time: little memory.

    token_bytes: by token id, as of `Tokenizer`. None where `stop` says so. MemoryShortError; RunFailedError where it is
    not finite.
    """
    nats = 0.0
    with _evaluating(model):
        for window in windows:
            if stop():
                return None
            nats += _nats(model, torch.from_numpy(window[None]).to(model.device))
    if not math.isfinite(nats):
        raise RunFailedError("the model's loss is not finite: training diverged or this device computes wrongly")
    return nats / math.log(2) / max(1, int(token_bytes[windows[:, 1:]].sum()))


def _nats(model: BloomForCausalLM, ids: torch.Tensor) -> float:
    """Of all predicted tokens of one window, (1, s)."""
    try:
        losses = sample_losses(model(input_ids=ids, use_cache=False).logits, ids)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryShortError("memory ran out") from None
    return float(losses.sum()) * (ids.shape[1] - 1)


def sample_text(
    model: BloomForCausalLM,
    tokenizer: Tokenizer,
    prompt: str = "",
    *,
    seed: int,
    max_tokens: int = 48,
    temperature: float = 0.8,
    top_k: int = 40,
    sequence_length: int = 2048,
) -> str:
    """The prompt and how the model goes on, up to an end-of-text. Repeatable: same seed, model and machine."""
    ids = [tokenizer.end_id, *tokenizer.encode(prompt)]
    generator = torch.Generator().manual_seed(seed)
    with _evaluating(model):
        for _ in range(max_tokens):
            context = torch.tensor([ids[-sequence_length:]], device=model.device)
            logits = model(input_ids=context, use_cache=False).logits[0, -1].float().cpu()
            values, candidates = torch.topk(logits[: tokenizer.vocab_size], min(top_k, tokenizer.vocab_size))
            choice = torch.multinomial(torch.softmax(values / temperature, dim=0), 1, generator=generator)
            chosen = int(candidates[choice])
            if chosen == tokenizer.end_id:
                break
            ids.append(chosen)
    return tokenizer.decode(ids[1:])


def _stream(texts: Iterable[str], tokenizer: Tokenizer, budget_tokens: int | None) -> tuple[list[int], int]:
    """Token ids of the joined documents, beginning with end-of-text, and the bytes of their text."""
    stream, size_bytes = [tokenizer.end_id], 0
    for text in texts:
        if budget_tokens is not None and len(stream) > budget_tokens:
            break
        stream += [*tokenizer.encode(text), tokenizer.end_id]
        size_bytes += len(text.encode("utf-8"))
    return stream, size_bytes


def _windows(stream: list[int], length: int) -> Iterator[tuple[list[int], list[int]]]:
    """(inputs, targets), each target once; the last one is filled with what is not predicted."""
    for start in range(0, len(stream) - 1, length):
        part = stream[start : start + length + 1]
        missing = length - (len(part) - 1)
        yield part[:-1] + [part[-1]] * missing, part[1:] + [IGNORED] * missing


def _score(model: BloomForCausalLM, stream: list[int], length: int) -> tuple[float, int]:
    """Nats over all predicted tokens, and their number."""
    nats = 0.0
    windows = _windows(stream, length)
    with _evaluating(model):
        while some := list(islice(windows, WINDOWS)):
            inputs, targets = (torch.tensor(part, device=model.device) for part in zip(*some, strict=True))
            logits = model(input_ids=inputs, use_cache=False).logits.float()
            losses = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            nats += float(losses)
    return nats, len(stream) - 1


@contextmanager
def _evaluating(model: BloomForCausalLM) -> Iterator[None]:
    """No gradients and no dropout inside; the model's mode is what it was afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
