"""Eight bits a value: codecs, their frames, and error feedback. docs/extending.md adds one."""

from __future__ import annotations

from swarm.averaging.codec.base import BLOCK, PIECE, Codec
from swarm.averaging.codec.coding import (
    Encoded,
    Frame,
    Quality,
    check,
    decode,
    encode,
    encode_with_feedback,
    residual_after,
    squared_norm,
    squares,
)
from swarm.averaging.codec.errors import CodecError, NonFiniteError, tensor_at
from swarm.averaging.codec.frame import MAX_VALUES, frame_bytes, open_frame, read_header
from swarm.averaging.codec.registry import CODECS, codec_named

__all__ = [
    "BLOCK",
    "CODECS",
    "MAX_VALUES",
    "PIECE",
    "Codec",
    "CodecError",
    "Encoded",
    "Frame",
    "NonFiniteError",
    "Quality",
    "check",
    "codec_named",
    "decode",
    "encode",
    "encode_with_feedback",
    "frame_bytes",
    "open_frame",
    "read_header",
    "residual_after",
    "squared_norm",
    "squares",
    "tensor_at",
]
