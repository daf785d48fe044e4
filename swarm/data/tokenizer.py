"""The tokenizer: byte-level BPE like BLOOM's, trained from the run's text or taken from elsewhere.

Byte level means that no text is unknown and that the bytes of a token are known, so bits per byte can be computed from
what a batch holds. The split expression and special tokens are those of bigscience/bloom's tokenizer.json. Its digest,
over the bytes of tokenizer.json, is in the manifest.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend

from swarm.errors import ConfigError, DataError, NetworkError
from swarm.release.hub import quiet

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
END_NAMES = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>")
BLOOM_SPLIT = " ?[^(\\s|[.,!?…。，、।۔،])]+"
MAX_TOKENIZER_BYTES = 64 << 20
BYTES_PER_LANGUAGE = 300_000  # what BPE learns from; more of it changes little (3 s for 21 languages on 2 cores)
MOST_REPEATS = 8  # a tiny language is repeated this often at most, or whole sentences of it would become tokens
PIECE_CHARACTERS = 2000
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())  # the characters that stand for the 256 bytes
# what normalizers alter: runs of spaces, line ends, accents, ligatures, vowel signs, width, joiners, control characters
PROBE = "a  B\t\r\nE\u0301\u00c9 \ufb01 \u0939\u093f \u4e2d\uff01 \u200d\ufeff\U0001f642\x01\x7f"
LONGEST_TOKEN = 48  # bytes: about 16 characters of Devanagari or Chinese


class Tokenizer:
    """A loaded tokenizer.json. Text that looks like a special token is text."""

    def __init__(self, data: bytes, name: str = "tokenizer.json") -> None:
        """DataError where `data` is no byte-level tokenizer with an end-of-text token."""
        if len(data) > MAX_TOKENIZER_BYTES:
            raise DataError(f"{name}: {len(data)} bytes; a tokenizer has {MAX_TOKENIZER_BYTES} at most; use another")
        try:
            self._backend = Backend.from_str(data.decode("utf-8"))
        except Exception as error:  # the library raises bare Exception for malformed JSON
            raise DataError(f"{name}: not a tokenizer.json: {' '.join(str(error).split())[:120]}") from None
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = True
        self.data = data
        if not _is_byte_level(json.loads(data)):
            raise DataError(f'{name}: not a byte-level tokenizer; use one like BLOOM\'s, such as "bigscience/bloom"')
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        if lacking := [letter for letter in ALPHABET if letter not in vocabulary]:
            lack = f"{len(lacking)} of the {len(ALPHABET)} bytes are not in its vocabulary"
            raise DataError(f"{name}: {lack}, so text would get lost; use a complete byte-level tokenizer")
        if self.decode(self.encode(PROBE)) != PROBE:
            raise DataError(
                f"{name}: it alters text (a normalizer, or a space put before it); use one that gives it back"
            )
        self.vocab_size = max(vocabulary.values()) + 1
        ends = [index for end in END_NAMES if (index := self._backend.token_to_id(end)) is not None]
        if not ends:
            raise DataError(f"{name}: no end-of-text token ({', '.join(END_NAMES)}); documents could not be told apart")
        self.end_id: int = ends[0]

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes of tokenizer.json, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def token_bytes(self) -> np.ndarray:
        """(vocab_size,) int32: bytes of text behind each token; 0 for special tokens."""
        table = np.zeros(self.vocab_size, dtype=np.int32)
        for token, index in self._backend.get_vocab(with_added_tokens=True).items():
            table[index] = len(token)  # byte level writes each byte as one character
        for index, added in self._backend.get_added_tokens_decoder().items():  # these are written as they are
            table[index] = 0 if added.special else len(added.content.encode("utf-8"))
        return table

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The same for many texts, on all threads the library may use."""
        return [encoding.ids for encoding in self._backend.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._backend.decode(list(ids), skip_special_tokens=True))

    def bytes_per_token(self, texts: Mapping[str, Iterable[str]]) -> dict[str, float]:
        """Bytes of text per token by language. A language far below the others is treated badly."""
        rates = {}
        for language, some in texts.items():
            listed = list(some)
            tokens = sum(map(len, self.encode_all(listed)))
            rates[language] = sum(len(text.encode("utf-8")) for text in listed) / max(1, tokens)
        return rates

    def check(self, *, digest: str | None = None, vocab_size: int | None = None) -> Tokenizer:
        """Itself, if it is the manifest's and fits the model's embedding; ConfigError otherwise."""
        if digest is not None and self.digest != digest:
            raise ConfigError(
                f"tokenizer {self.digest[:16]} is not the run's {digest[:16]}; take tokenizer.json from the swarm"
            )
        if vocab_size is not None and self.vocab_size > vocab_size:
            raise ConfigError(
                f"the tokenizer has {self.vocab_size} tokens, model.vocab_size is {vocab_size}; "
                f"set it to {self.vocab_size} or more"
            )
        return self


def load(source: bytes | Path | str) -> Tokenizer:
    """From tokenizer.json's bytes, a path (file, or folder that holds one), or a Hub name such as "bigscience/bloom",
    "name@revision". DataError says what is wrong."""
    if isinstance(source, bytes):
        return Tokenizer(source)
    path = Path(source)
    path = path / "tokenizer.json" if path.is_dir() else path
    if isinstance(source, Path) or path.is_file():
        try:
            with path.open("rb") as file:
                return Tokenizer(file.read(MAX_TOKENIZER_BYTES + 1), str(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}; check tokenizer.source") from None
    return load(_from_hub(source))


def train(texts: Mapping[str, Iterable[str]], vocab_size: int, budget_bytes: int = BYTES_PER_LANGUAGE) -> bytes:
    """The tokenizer.json of a byte-level BPE, the same bytes for the same texts on any number of threads.

    Languages are balanced: each gives equal bytes, up to `budget_bytes`, chosen from all over its text; a shorter one
    is repeated (up to 8 times). The vocabulary may end smaller than `vocab_size` where there is little text.
    """
    if vocab_size < 256 + len(SPECIAL):
        raise ConfigError(f"model.vocab_size {vocab_size} is too small; bytes and special tokens alone are 260")
    chosen = {language: _choose(language, some, budget_bytes) for language, some in sorted(texts.items())}
    if empty := [language for language, pieces in chosen.items() if not pieces]:
        raise DataError(f"no text in {', '.join(empty)} to train a tokenizer on; add some, or leave it out")
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(BLOOM_SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    backend.train_from_iterator(_balanced(chosen), trainer)
    return str(backend.to_str(pretty=False)).encode("utf-8")


def _choose(language: str, texts: Iterable[str], budget_bytes: int) -> list[str]:
    """Up to `budget_bytes` of pieces from all over the text: those whose number hashes lowest. One pass, bounded."""
    kept: list[tuple[int, int, str]] = []  # a heap with the highest hash on top
    size = 0
    for number, piece in enumerate(piece for text in texts for piece in _pieces(text)):
        key = hashlib.blake2b(f"{language}:{number}".encode(), digest_size=8).digest()
        heapq.heappush(kept, (-int.from_bytes(key, "big"), number, piece))
        size += len(piece.encode("utf-8"))
        while size > budget_bytes and len(kept) > 1:
            size -= len(heapq.heappop(kept)[2].encode("utf-8"))
    return [piece for _, _, piece in sorted(kept, key=lambda entry: entry[1])]


def _pieces(text: str) -> Iterator[str]:
    """Cut at white space, where there is any, into pieces of at most 2000 characters."""
    start = 0
    while start < len(text):
        end = min(len(text), start + PIECE_CHARACTERS)
        if end < len(text) and (space := text.rfind(" ", start + PIECE_CHARACTERS // 2, end)) > 0:
            end = space
        yield text[start:end]
        start = end


def _balanced(chosen: Mapping[str, list[str]]) -> Iterator[str]:
    """Every language to the bytes of the largest, by repeating its pieces from the start."""
    sizes = {language: [len(piece.encode("utf-8")) for piece in pieces] for language, pieces in chosen.items()}
    target = max(sum(some) for some in sizes.values())
    for language, pieces in chosen.items():
        left = min(target, MOST_REPEATS * sum(sizes[language]))
        while left > 0:
            for piece, size in zip(pieces, sizes[language], strict=True):
                if left <= 0:
                    break
                yield piece
                left -= size


def _is_byte_level(config: dict[str, Any]) -> bool:
    decoder = config.get("decoder") or {}
    parts = decoder.get("decoders") or [decoder]
    return config.get("model", {}).get("type") == "BPE" and any(part.get("type") == "ByteLevel" for part in parts)


def _from_hub(name: str) -> bytes:
    """tokenizer.json of a Hub model "name" or "name@revision"; kept in the Hub's own cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        with quiet():
            return Path(hf_hub_download(repository, "tokenizer.json", revision=revision or None)).read_bytes()
    except Exception as error:  # dozens of types for a wrong name, no network, no access
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        if isinstance(error, ConnectionError | LocalEntryNotFoundError):
            raise NetworkError(f"tokenizer {name}: {reason}; check the network, or give a path") from None
        raise DataError(f"tokenizer {name}: {reason}; check the name and the network, or give a path") from None
