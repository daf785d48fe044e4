"""`int8-block@1`: blocks of 256 values, one bfloat16 scale each, linear codes from -127 to 127.

Linear and not a table: real gradients within a block of 256 are close enough to Gaussian that the best table is
hardly better, and a table is several times slower (docs/decisions.md has the figures per tensor kind).

Bytes of a piece: the scales (blocks,) little-endian bfloat16, then the codes (size,) int8. A scale is the block's
largest magnitude over 127, rounded up to bfloat16, so no code leaves the range. It lies between 2^-126 (also for a
block of zeros) and 1.0078125 x 2^121, so a decoded value, code x scale, is exact in float32 and neither denormal nor
infinite.

Everything is written twice: with numpy's and torch's arrays, and in `kernels`, which are several times as fast and
used once a process has them. The bits are the same.
"""

from __future__ import annotations

import numpy as np
import torch

from swarm.averaging.codec.base import BLOCK, Codec, first_non_finite, writable
from swarm.averaging.codec.errors import CodecError, NonFiniteError
from swarm.compiled import Kernels, Source

KERNELS = Kernels("swarm.averaging.codec")
NOTHING_OWED, NOT_MEASURED = np.empty(0, np.uint16), np.empty(0)
TOP = 127  # the largest code; -128 is never written
SMALLEST_BITS = 0x0080  # 2^-126 as bfloat16, the smallest normal number
LARGEST_BITS = 0x7C01  # 1.0078125 x 2^121, the largest bfloat16 of which 127 are still a float32


class Int8Block(Codec):
    """Blockwise absolute-maximum quantization to 8 bits: 1 + 2/256 bytes a value."""

    name = "int8-block"
    version = 1

    def __init__(self, kernels: Source = KERNELS) -> None:
        """kernels: where to look for them at every call."""
        self.kernels = kernels

    def wire_bytes(self, size: int) -> int:
        return size + 2 * blocks_of(size)

    def encode(self, values: np.ndarray, out: np.ndarray) -> None:
        if self._in_one(values, None, out, NOTHING_OWED, NOT_MEASURED) is None:
            self._encode(values, out, np.empty(len(values), np.float32))

    def encode_owed(
        self, values: np.ndarray, owed: np.ndarray | None, out: np.ndarray, left: np.ndarray, *, measure: bool
    ) -> np.ndarray | None:
        return self._in_one(values, owed, out, left, np.zeros(3) if measure else NOT_MEASURED)

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

    def _in_one(
        self, values: np.ndarray, owed: np.ndarray | None, out: np.ndarray, left: np.ndarray, sums: np.ndarray
    ) -> np.ndarray | None:
        kernels = self.kernels(left)
        if kernels is None:
            return None
        blocks = blocks_of(len(values))
        bits, codes = np.empty(blocks, np.uint16), out[2 * blocks :].view(np.int8)
        debt = NOTHING_OWED if owed is None else plain(owed)
        if kernels.encode(plain(values), debt, codes, bits, left, sums) >= 0:
            return None
        out[: 2 * blocks].view("<u2")[:] = bits
        return sums

    def decode(self, body: np.ndarray, out: np.ndarray) -> None:
        scales, codes = self._parts(body, len(out))
        kernels = self.kernels(out)
        if kernels is None:
            require_codes(codes.min(initial=0))
            unpack(codes, scales, out)
        else:
            require_codes(kernels.unpack(codes, scales, out))

    def add(self, body: np.ndarray, share: float, out: np.ndarray, scratch: np.ndarray) -> None:
        """Share and scale in one multiplication."""
        scales, codes = self._parts(body, len(out))
        scales *= np.float32(share)
        kernels = self.kernels(out)
        if kernels is None:
            require_codes(codes.min(initial=0))
            unpack(codes, scales, scratch)
            torch.from_numpy(out).add_(torch.from_numpy(scratch))
        else:
            require_codes(kernels.add(codes, scales, out))

    def check(self, body: np.ndarray, size: int) -> None:
        require_codes(self._parts(body, size)[1].min(initial=0))

    def squares(self, body: np.ndarray, size: int) -> np.ndarray:
        """Exact: a block's squared codes add up below 2^24, the scale's square has 16 bits, both fit a double."""
        scales, codes = self._parts(body, size)
        kernels = self.kernels()
        if kernels is not None:
            exact = np.empty(len(scales))
            require_codes(kernels.squares(codes, exact))
            return exact * np.square(scales.astype(np.float64))
        require_codes(codes.min(initial=0))
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
        """Scales (blocks,) float32, checked, in memory of their own, and codes (size,) int8."""
        blocks = blocks_of(size)
        bits, codes = body[: 2 * blocks].view("<u2"), body[2 * blocks :].view(np.int8)
        if bits.max(initial=0) > LARGEST_BITS or bits.min(initial=LARGEST_BITS) < SMALLEST_BITS:
            raise CodecError(f"{self.label}: a scale is not a normal number in range; the bytes are damaged")
        return from_bits(bits), codes


def require_codes(least: np.int8) -> None:
    """CodecError where the least code of a piece is one that nobody writes."""
    if least < -TOP:
        raise CodecError(f"{Int8Block().label}: a code is -128, which is never written; the bytes are damaged")


def plain(values: np.ndarray) -> np.ndarray:
    """`values` or, where they are strided or not aligned, a copy: all that `kernels` take."""
    return values if values.flags.c_contiguous and values.flags.aligned else values.copy()


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
