"""`int8-block@1` in one pass over the values, compiled by numba.

Every function does, value by value, the operations of `int8_block` in their order and each rounded on its own: numba
fuses and reorders nothing unless it is told to, which is done for sums that only say how good an encoding is. A block
stays in the first-level cache from the first operation to the last. Integers are cast at every step, because numba
computes with 64 bits otherwise, which takes three times as long.

Arrays are contiguous and aligned. An empty one stands for "nothing is owed" and "not wanted".
"""

from __future__ import annotations

import numpy as np
from numba import types

from swarm.averaging.codec.base import BLOCK
from swarm.compiled import machine_code, read, written

SIXTEEN, ONE, HALF, MAGNITUDE = np.uint32(16), np.uint32(1), np.uint32(0x7FFF), np.uint32(0x7FFFFFFF)
UP, SMALLEST, LARGEST, INFINITE = np.uint32(0xFFFF), np.uint32(0x0080), np.uint32(0x7C01), np.uint32(0x7F800000)
UNIT, TOP = np.float32(1), np.float32(127)


@machine_code(written(types.float32), written(types.float32), written(types.float32), fastmath={"reassoc", "nsz"})
def products(total: np.ndarray, back: np.ndarray, lost: np.ndarray) -> tuple[np.float32, np.float32, np.float32]:
    """Sums of total x total, lost x lost and total x back, in whatever order is fast."""
    values, errors, both = np.float32(0), np.float32(0), np.float32(0)
    for i in range(len(total)):
        values += total[i] * total[i]
        errors += lost[i] * lost[i]
        both += total[i] * back[i]
    return values, errors, both


@machine_code(
    read(types.float32),
    read(types.uint16),
    written(types.int8),
    written(types.uint16),
    written(types.uint16),
    written(types.float64),
)
def encode(
    values: np.ndarray, owed: np.ndarray, codes: np.ndarray, bits: np.ndarray, left: np.ndarray, sums: np.ndarray
) -> int:
    """Encode values + owed: their codes, the scales' bits and, each if wanted, what is left owing and `products`.

    values, codes: (size,). owed, left: (size,) bfloat16 bits or empty. bits: (blocks,). sums: (3,), added to, or empty.
    Returns the first block with a value that is not finite, where it stops, or -1.
    """
    total, back, lost = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    single = np.empty(1, np.float32)
    single_word = single.view(np.uint32)
    for block in range(len(bits)):
        start = block * BLOCK
        stop = min(start + BLOCK, len(values))
        size = stop - start
        t, b, lo, c = total[:size], back[:size], lost[:size], codes[start:stop]
        given = values[start:stop]
        if len(owed):
            debt, words = owed[start:stop], b.view(np.uint32)
            for i in range(size):
                words[i] = np.uint32(np.uint32(debt[i]) << SIXTEEN)
            for i in range(size):
                t[i] = given[i] + b[i]
        else:
            for i in range(size):
                t[i] = given[i]
        words = t.view(np.uint32)
        largest = np.uint32(0)
        for i in range(size):
            magnitude = np.uint32(words[i] & MAGNITUDE)
            largest = magnitude if magnitude > largest else largest
        if largest >= INFINITE:
            return block
        single_word[0] = largest
        single[0] = single[0] / TOP
        scale_bits = min(max(np.uint32(np.uint32(single_word[0] + UP) >> SIXTEEN), SMALLEST), LARGEST)
        bits[block] = scale_bits
        single_word[0] = np.uint32(scale_bits << SIXTEEN)
        scale = single[0]
        inverse = UNIT / scale
        for i in range(size):
            quotient = np.rint(t[i] * inverse)
            c[i] = np.int8(np.int32(quotient))
            b[i] = quotient * scale
            lo[i] = t[i] - b[i]
        if len(left):
            words, rest = lo.view(np.uint32), left[start:stop]
            for i in range(size):
                odd = np.uint32(np.uint32(words[i] >> SIXTEEN) & ONE)
                rounded = np.uint32(np.uint32(words[i] + HALF) + odd)
                rest[i] = np.uint16(np.uint32(rounded >> SIXTEEN))
        if len(sums):
            one, two, three = products(t, b, lo)
            sums[0] += one
            sums[1] += two
            sums[2] += three
    return -1


@machine_code(read(types.int8), read(types.float32), written(types.float32))
def unpack(codes: np.ndarray, scales: np.ndarray, out: np.ndarray) -> np.int8:
    """out (size,) = codes (size,), each block times its scale (blocks,). Returns the least code."""
    least = np.int8(0)
    for block in range(len(scales)):
        start = block * BLOCK
        stop = min(start + BLOCK, len(codes))
        c, o, scale = codes[start:stop], out[start:stop], scales[block]
        for i in range(stop - start):
            code = c[i]
            least = code if code < least else least
            o[i] = np.float32(code) * scale
    return least


@machine_code(read(types.int8), read(types.float32), written(types.float32))
def add(codes: np.ndarray, scales: np.ndarray, out: np.ndarray) -> np.int8:
    """Add to out (size,) the codes (size,), each block times its scale (blocks,). Returns the least code."""
    least = np.int8(0)
    for block in range(len(scales)):
        start = block * BLOCK
        stop = min(start + BLOCK, len(codes))
        c, o, scale = codes[start:stop], out[start:stop], scales[block]
        for i in range(stop - start):
            code = c[i]
            least = code if code < least else least
            o[i] = o[i] + np.float32(code) * scale
    return least


@machine_code(read(types.int8), written(types.float64))
def squares(codes: np.ndarray, out: np.ndarray) -> np.int8:
    """The sum of squared codes of every block, (blocks,), exact. Returns the least code."""
    least = np.int8(0)
    for block in range(len(out)):
        start = block * BLOCK
        stop = min(start + BLOCK, len(codes))
        c, total = codes[start:stop], np.int32(0)
        for i in range(stop - start):
            code = c[i]
            least = code if code < least else least
            total = np.int32(total + np.int32(np.int32(code) * np.int32(code)))
        out[block] = total
    return least
