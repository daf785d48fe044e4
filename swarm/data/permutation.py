"""A keyed permutation of range(size): a shuffle of any length that is never held in memory.

A balanced-enough Feistel network over the next power of two with BLAKE2b as round function, and cycle walking to stay
inside range(size) (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002). Integers and bytes only, so every
machine computes the same; it need not be secure, only well mixed.
"""

from __future__ import annotations

import hashlib

ROUNDS = 8


class Permutation:
    """`permutation[i]` for i in range(size): about 10 microseconds, twice that where size is just over 2**k."""

    def __init__(self, key: str, size: int) -> None:
        assert size >= 1
        self.size = size
        self._key = hashlib.sha256(key.encode("utf-8")).digest()
        bits = max(2, (size - 1).bit_length())
        self._low_bits = bits // 2
        self._high_bits = bits - self._low_bits

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is outside range({self.size})")
        value = self._encipher(index)
        while value >= self.size:  # a cycle of the larger permutation returns to range(size) before it repeats
            value = self._encipher(value)
        return value

    def _encipher(self, value: int) -> int:
        low, high = value & ((1 << self._low_bits) - 1), value >> self._low_bits
        for number in range(0, ROUNDS, 2):
            low ^= self._mix(number, high) & ((1 << self._low_bits) - 1)
            high ^= self._mix(number + 1, low) & ((1 << self._high_bits) - 1)
        return high << self._low_bits | low

    def _mix(self, number: int, half: int) -> int:
        message = bytes([number]) + half.to_bytes(8, "little")
        return int.from_bytes(hashlib.blake2b(message, digest_size=8, key=self._key).digest(), "little")
