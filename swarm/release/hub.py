"""The Hugging Face Hub, asked quietly: one error line of ours says what two lines for each of five attempts would."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("huggingface_hub", "transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Only errors are logged by the Hub's client and by transformers within the block."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
