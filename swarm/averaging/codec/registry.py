"""Every codec, in one place. The manifest names one as "name@version"; a peer without it is refused by name.

A codec that has been in a run never changes what its bytes mean: it gets a new version beside the old one.
"""

from __future__ import annotations

from swarm.averaging.codec.base import Codec
from swarm.averaging.codec.float16 import Float16
from swarm.averaging.codec.int8_block import Int8Block
from swarm.averaging.codec.plain import Plain
from swarm.errors import IncompatibleError

CODECS: tuple[Codec, ...] = (Int8Block(), Float16(), Plain())


def codec_named(label: str) -> Codec:
    """The codec the manifest calls `label`. IncompatibleError names it and those we have."""
    for codec in CODECS:
        if codec.label == label:
            return codec
    known = ", ".join(codec.label for codec in CODECS)
    raise IncompatibleError(f"the run's codec is {label}, this version has {known}; upgrade")
