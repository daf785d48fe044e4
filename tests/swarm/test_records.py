"""DHT records: only the peer itself speaks for its place, for a while, within bounds; all else has a counted reason."""

from __future__ import annotations

import json
import struct
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.records import (
    MAX_LIFETIME_SECONDS,
    MAX_RECORD_BYTES,
    PAYLOAD_AT,
    ProgressRecord,
    Reason,
    RecordError,
    expiration_of,
    seal,
    unseal,
)
from swarm.trust.identity import Identity

ME, OTHER = Identity.generate(), Identity.generate()
KEY = "ab" * 32 + "/progress"
NOW = 1_700_000_000.0
VALUE = seal(ME, KEY, b"payload", NOW + 60)


def reason(key: str = KEY, peer_id: str = ME.peer_id, value: bytes = VALUE, now: float = NOW) -> str:
    with pytest.raises(RecordError) as error:
        unseal(key, peer_id, value, now)
    return error.value.reason


def test_what_was_sealed_is_unsealed() -> None:
    assert unseal(KEY, ME.peer_id, VALUE, NOW) == b"payload"
    assert expiration_of(VALUE) == NOW + 60


def test_a_record_is_worth_nothing_elsewhere() -> None:
    assert reason(peer_id=OTHER.peer_id) == "signature"
    assert reason(peer_id="nobody") == "signature"
    assert reason(key="cd" * 32 + "/progress") == "signature", "another run"
    assert reason(key=KEY[:-1]) == "signature"
    assert reason(now=NOW + 60) == "expired"
    assert reason(value=seal(ME, KEY, b"", NOW + MAX_LIFETIME_SECONDS + 9)) == "lifetime"
    longer = VALUE[:1] + struct.pack(">d", NOW + 61) + VALUE[9:]
    assert reason(value=longer) == "signature", "an expiration cannot be prolonged"
    assert reason(value=VALUE + b"!") == "signature"


@pytest.mark.parametrize("expiration", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_none(expiration: float) -> None:
    assert reason(value=VALUE[:1] + struct.pack(">d", expiration) + VALUE[9:]) == "lifetime"


def test_sizes_and_versions() -> None:
    assert reason(value=b"") == "size"
    assert reason(value=VALUE[: PAYLOAD_AT - 1]) == "size"
    assert reason(value=VALUE + b"x" * MAX_RECORD_BYTES) == "size"
    assert reason(value=b"\x02" + VALUE[1:]) == "version"
    assert reason(value="text" * 30) == "size"  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        seal(ME, KEY, b"x" * MAX_RECORD_BYTES, NOW)


@given(st.binary(max_size=300), st.text(max_size=20), st.floats())
def test_nothing_but_a_record_error_comes_of_any_bytes(value: bytes, key: str, now: float) -> None:
    for data in (value, VALUE[:9] + value, b"\x01" + value):
        with pytest.raises(RecordError) as error:
            unseal(key, ME.peer_id, data, now)
        assert error.value.reason in typing.get_args(Reason)


PROGRESS = ProgressRecord(
    step=7, samples=12, total_samples=99, loss=5.5, samples_per_second=3.25, tokens_by_language={"en": 10, "zh": 2},
    state="training", role="trainer", version="0.1.0", addresses=("/ip4/1.2.3.4/tcp/1",),
)  # fmt: skip


def test_progress_survives() -> None:
    assert ProgressRecord.from_bytes(PROGRESS.to_bytes()) == PROGRESS
    assert len(PROGRESS.to_bytes()) < 400


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1}, {"step": 2**53}, {"step": 1.5}, {"step": "7"}, {"step": None}, {"loss": float("nan")},
        {"loss": float("inf")}, {"loss": -1}, {"samples_per_second": 1e300}, {"state": "hacking"}, {"role": "owner"},
        {"tokens_by_language": {"<script>": 1}}, {"tokens_by_language": {"en": -1}}, {"version": "1\n2"},
        {"tokens_by_language": {f"a{chr(97 + i // 26)}{chr(97 + i % 26)}": 1 for i in range(300)}},
        {"addresses": ["/x"] * 9}, {"addresses": ["/" + "x" * 300]},
        {"addresses": ["/\x1b[2J"]}, {"extra": 1}, {"total_samples": True},
    ],
)  # fmt: skip
def test_a_field_out_of_bounds_is_refused(change: dict) -> None:
    value = json.loads(PROGRESS.to_bytes()) | change
    with pytest.raises(RecordError) as error:
        ProgressRecord.from_bytes(json.dumps(value).encode())
    assert error.value.reason == "payload"


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_nothing_but_a_record_error_comes_of_any_payload(data: bytes) -> None:
    with pytest.raises(RecordError):
        ProgressRecord.from_bytes(data)


def test_payload_bombs_are_refused_before_they_are_parsed() -> None:
    for data, word in [
        (b"[" * 100_000, "size"),
        (b"[" * 10_000, "payload"),
        (b'{"step":' + b"9" * 9_000 + b"}", "payload"),
    ]:
        with pytest.raises(RecordError) as error:
            ProgressRecord.from_bytes(data)
        assert error.value.reason == word


LONG = [f"a{chr(97 + i // 26)}{chr(97 + i % 26)}-Abcdefg1-Abcdefg1" for i in range(256)]


def test_the_largest_record_still_fits_and_gives_up_the_least_important_first() -> None:
    record = PROGRESS.model_copy(
        update={
            "tokens_by_language": dict.fromkeys(LONG, 2**53 - 1),
            "loss_by_language": dict.fromkeys(LONG, 5.123456789),
            "addresses": ("/" + "x" * 299,) * 8,
        }
    )
    seal(ME, KEY, record.to_bytes(), NOW)
    kept = ProgressRecord.from_bytes(record.to_bytes())
    assert kept.loss_by_language == {}
    assert kept.tokens_by_language == record.tokens_by_language
    plain = [code[:3] for code in LONG]
    usual = record.model_copy(
        update={
            "tokens_by_language": dict.fromkeys(plain, 10**9),
            "loss_by_language": dict.fromkeys(plain, 5.1235),
            "addresses": (),
        }
    )
    assert ProgressRecord.from_bytes(usual.to_bytes()) == usual, "256 languages with plain codes lose nothing"


@pytest.mark.parametrize(
    "change",
    [
        {"head": "ab" * 7}, {"lineage": "<b>"}, {"rounds": {"<script>": 1}}, {"rounds": {"a" * 21: 1}},
        {"rounds": {chr(97 + i % 26) * (1 + i // 26): 1 for i in range(35)}},
        {"clock": -1.0}, {"loss_by_language": {"en": -1.0}}, {"energy_joules": {"cpu": 1e30}},
        {"energy_joules": {"sun": 1.0}}, {"checkpoint_failed": 1},
    ],
)  # fmt: skip
def test_what_the_monitor_reads_is_bounded_too(change: dict) -> None:
    with pytest.raises(RecordError):
        ProgressRecord.from_bytes(json.dumps(json.loads(PROGRESS.to_bytes()) | change).encode())
