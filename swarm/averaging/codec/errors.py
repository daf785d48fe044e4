"""What can be wrong with values to encode or with bytes to decode."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from swarm.errors import RunFailedError, SwarmError


class CodecError(SwarmError):
    """Bytes that are not a frame of the expected codec and size. The only thing decoding raises, whatever it is fed."""


class NonFiniteError(RunFailedError):
    """A NaN or an infinity was to be encoded. `index` counts from the start of the encoded values (see `shifted`)."""

    def __init__(self, index: int, value: float, tensor: str = "") -> None:
        self.index = index
        self.value = value
        where = f"tensor {tensor} (value {index})" if tensor else f"value {index}"
        super().__init__(f"{where} is {value}; nothing was sent: lower the learning rate or look at the data")

    def shifted(self, offset: int) -> NonFiniteError:
        """The same error counted from `offset` values earlier: from a span's start to the vector's."""
        return NonFiniteError(self.index + offset, self.value)

    def named(self, names: Sequence[str], offsets: Sequence[int]) -> NonFiniteError:
        """The same error naming the tensor, when `index` counts from the start of the vector."""
        return NonFiniteError(self.index, self.value, tensor_at(self.index, names, offsets))


def tensor_at(index: int, names: Sequence[str], offsets: Sequence[int]) -> str:
    """The name of the tensor that holds value `index` of the flat vector.

    offsets: ascending, the first value of each tensor, one for each name. Empty tensors own no value.
    """
    assert len(names) == len(offsets), (len(names), len(offsets))
    assert index >= offsets[0], (index, offsets[0])
    return names[bisect_right(offsets, index) - 1]
