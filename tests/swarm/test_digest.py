"""Content is known by BLAKE3, as anybody else computes it."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.digest import CONTENT_BYTES, Content, content_digest, content_digest_of

# https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors/test_vectors.json: bytes 0, 1, ..., 250, 0, 1, ...
OFFICIAL = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}


@pytest.mark.parametrize("size", OFFICIAL)
def test_it_is_the_published_one(size: int) -> None:
    data = bytes(place % 251 for place in range(size))
    assert content_digest(data).hex() == OFFICIAL[size]
    assert len(content_digest(data)) == CONTENT_BYTES
    assert content_digest_of([data[:1000], data[1000:]]).hex() == OFFICIAL[size]


def test_an_array_counts_as_the_bytes_in_its_memory() -> None:
    values = np.arange(5000, dtype=np.float32)
    kinds: list[Content] = [values.data, bytearray(values.tobytes()), values[:0].tobytes() + values.tobytes()]
    assert {content_digest(kind) for kind in kinds} == {content_digest(values.tobytes())}
    assert content_digest_of(part.data for part in np.split(values, 5)) == content_digest(values.tobytes())
