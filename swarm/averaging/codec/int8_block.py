"""`int8-block@1`: blocks of 256 values, one bfloat16 scale each, linear codes from -127 to 127.

Linear and not a table: real gradients within a block of 256 are close enough to Gaussian that the best table is
hardly better, and a table is several times slower (docs/decisions.md has the figures per tensor kind).

Bytes of a piece: the scales (blocks,) little-endian bfloat16, then the codes (size,) int8. A scale is the block's
largest magnitude over 127, rounded up to bfloat16, so no code leaves the range. It lies between 2^-126 (also for a
block of zeros) and 1.0078125 x 2^121, so a decoded value, code x scale, is exact in float32 and neither denormal nor
infinite.
"""

from __future__ import annotations

import numpy as np
import torch

from swarm.averaging.codec.base import BLOCK, Codec, first_non_finite, writable
from swarm.averaging.codec.errors import CodecError, NonFiniteError

TOP = 127  # the largest code; -128 is never written
SMALLEST_BITS = 0x0080  # 2^-126 as bfloat16, the smallest normal number
LARGEST_BITS = 0x7C01  # 1.0078125 x 2^121, the largest bfloat16 of which 127 are still a float32


class Int8Block(Codec):
    """Blockwise absolute-maximum quantization to 8 bits: 1 + 2/256 bytes a value."""

    name = "int8-block"
    version = 1

    def wire_bytes(self, size: int) -> int:
        return size + 2 * blocks_of(size)

    def encode(self, values: np.ndarray, out: np.ndarray) -> None:
        self._encode(values, out, np.empty(len(values), np.float32))

    def encode_both(self, values: np.ndarray, out: np.ndarray, back: np.ndarray) -> None:
        """The rounded quotients are the codes already: nothing is read back and checked."""
        scale_rows(back, from_bits(self._encode(values, out, back)))

    def _encode(self, values: np.ndarray, out: np.ndarray, work: np.ndarray) -> np.ndarray:
        """The scales' bits. work: (size,) float32, the codes when it is done."""
        size, blocks = len(values), blocks_of(len(values))
        if size != blocks * BLOCK:
            padded, wide = np.zeros(blocks * BLOCK, np.float32), np.empty(blocks * BLOCK + 2 * blocks, np.uint8)
            padded[:size] = values
            bits = self._encode(padded, wide, padded)
            work[:] = padded[:size]
            out[:] = wide[: len(out)]
            return bits
        rows = torch.from_numpy(writable(values)).view(blocks, BLOCK)
        bits = scale_bits(largest_in(rows))
        quotients = torch.from_numpy(work)
        torch.mul(rows, torch.from_numpy(np.float32(1) / from_bits(bits))[:, None], out=quotients.view(blocks, BLOCK))
        torch.from_numpy(out[2 * blocks :].view(np.int8)).copy_(quotients.round_())
        out[: 2 * blocks].view("<u2")[:] = bits
        return bits

    def decode(self, body: np.ndarray, out: np.ndarray) -> None:
        scales, codes = self._parts(body, len(out))
        unpack(codes, scales, out)

    def add(self, body: np.ndarray, share: float, out: np.ndarray, scratch: np.ndarray) -> None:
        """Share and scale in one multiplication."""
        scales, codes = self._parts(body, len(out))
        unpack(codes, scales * np.float32(share), scratch)
        torch.from_numpy(out).add_(torch.from_numpy(scratch))

    def check(self, body: np.ndarray, size: int) -> None:
        self._parts(body, size)

    def squares(self, body: np.ndarray, size: int) -> np.ndarray:
        """Exact: a block's squared codes add up below 2^24, the scale's square has 16 bits, both fit a double."""
        scales, codes = self._parts(body, size)
        padded = np.empty((len(scales), BLOCK), np.float32)
        flat = padded.reshape(-1)
        flat[:size], flat[size:] = codes, 0
        sums = np.einsum("ij,ij->i", padded, padded)  # integers below 2^24: exact in float32 in any order
        return sums.astype(np.float64) * np.square(scales.astype(np.float64))

    def error_bound(self, values: np.ndarray) -> np.ndarray:
        """Half a step (0.501 of it, for the rounding of the inverse) of the block's scale."""
        blocks = blocks_of(len(values))
        padded = np.zeros((blocks, BLOCK))
        padded.reshape(-1)[: len(values)] = np.abs(values)
        step = np.maximum(padded.max(1) / TOP * (1 + 2**-7), 2.0**-126)
        return np.repeat(0.501 * step, BLOCK)[: len(values)]

    def _parts(self, body: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Scales (blocks,) float32 and codes (size,) int8, checked."""
        blocks = blocks_of(size)
        bits, codes = body[: 2 * blocks].view("<u2"), body[2 * blocks :].view(np.int8)
        if bits.max(initial=0) > LARGEST_BITS or bits.min(initial=LARGEST_BITS) < SMALLEST_BITS:
            raise CodecError(f"{self.label}: a scale is not a normal number in range; the bytes are damaged")
        if codes.min(initial=0) < -TOP:
            raise CodecError(f"{self.label}: a code is -128, which is never written; the bytes are damaged")
        return from_bits(bits), codes


def blocks_of(size: int) -> int:
    """Blocks of `size` values; the last may be shorter."""
    return -(-size // BLOCK)


def largest_in(rows: torch.Tensor) -> np.ndarray:
    """The largest magnitude in each row, (blocks,) float32. NonFiniteError where one is not finite.

    Two reductions that write nothing are faster than magnitudes and one reduction.
    """
    largest = torch.maximum(rows.amax(1), rows.amin(1).neg_()).numpy()  # NaN where the block holds one
    if not np.isfinite(largest.max(initial=0)):
        found = first_non_finite(rows.reshape(-1).numpy())
        assert found is not None
        raise NonFiniteError(*found)
    return largest


def unpack(codes: np.ndarray, scales: np.ndarray, out: np.ndarray) -> None:
    """out (size,) float32 = codes (size,) int8, each block times its scale, rounded once.

    Two passes: torch's one, which multiplies int8 by float32, is slower on most processors (docs/benchmarks.md).
    """
    np.copyto(out, codes)
    scale_rows(out, scales)


def scale_rows(values: np.ndarray, scales: np.ndarray) -> None:
    """Multiply each block of `values` (size,) by its scale, in place."""
    whole = len(values) // BLOCK * BLOCK
    rows = torch.from_numpy(values[:whole]).view(-1, BLOCK)
    torch.mul(rows, torch.from_numpy(scales)[: len(rows), None], out=rows)
    values[whole:] *= scales[-1:]


def scale_bits(largest: np.ndarray) -> np.ndarray:
    """The scales (blocks,) uint16, bfloat16 bits, of blocks with these largest magnitudes (blocks,) float32."""
    up = (largest / np.float32(TOP)).view(np.uint32)
    up += np.uint32(0xFFFF)
    up >>= 16
    return np.minimum(np.maximum(up, SMALLEST_BITS), LARGEST_BITS).astype(np.uint16)


def from_bits(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits (uint16) as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
