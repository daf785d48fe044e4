"""From a pydantic error to one line that a person can act on: the path, the value, the remedy.

Used for everything that is parsed from TOML or JSON (configuration, manifest, settings). Values are quoted with
`repr` and cut, because they may come from strangers.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from swarm.errors import ConfigError

MAX_FILE_BYTES = 1 << 20
SHOWN = 3
BRANCH_TAG = re.compile(r"[a-z_-]+\[.*\]\Z|(str|int|float|bool|tuple|literal|none)\Z")
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of all parsed values: frozen, no unknown keys, no conversion from text to number, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def parse(model: type[Model], value: Any, source: str) -> Model:
    """`value` (as from tomllib or json) as a `model`. ConfigError names `source`, the path, the value, the remedy.

    It goes through JSON because there pydantic's strict mode takes a list for a tuple and a string for a path.
    """
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: cannot be read: {one_line(str(error))}; write plain keys and values") from None
    return parse_json(model, text, source)


def parse_json(model: type[Model], text: str | bytes, source: str) -> Model:
    """JSON text as a `model`, with the same errors as `parse`."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, model)}") from None


def read_bounded(path: Path) -> bytes:
    """The bytes of a hand-written file. ConfigError where it is missing, unreadable or larger than 1 MiB."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{one_line(str(path))}: cannot be read: {reason}; check the path and its mode") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes; a configuration is a small TOML file")
    return data


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain values. ConfigError with line and column where it is not TOML."""
    data = read_bounded(path)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply; write plain tables and lists") from None
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise ConfigError(
            f"{path}: not TOML: {one_line(str(error))}; text needs quotes, see configs/tiny.toml"
        ) from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problems of `error` in one line; unknown keys first, since a missing key is often a misspelt one."""
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    inner = [problem["loc"] for problem in problems]
    told = list(dict.fromkeys(_explain(problem, model) for problem in problems if not _is_echo(problem["loc"], inner)))
    more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return "; ".join(told[:SHOWN]) + more


def one_line(text: str) -> str:
    """`text` without line breaks or control characters, and not longer than a screen line or two."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= 200 else text[:197] + "..."


def show(value: Any) -> str:
    """A value for a message: quoted, cut, printable."""
    if isinstance(value, dict | list | tuple):
        return f"a {'table' if isinstance(value, dict) else 'list'} of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
    return one_line(text if len(text) <= 60 else text[:57] + "...")


def _is_echo(location: tuple[int | str, ...], others: list[tuple[int | str, ...]]) -> bool:
    """Whether a problem inside this place is told too: a list with a bad item is also "too short" to pydantic."""
    return any(len(other) > len(location) and other[: len(location)] == location for other in others)


def _explain(problem: ErrorDetails, model: type[BaseModel]) -> str:
    kind, where, value = problem["type"], _path(problem["loc"]), problem["input"]
    context: Mapping[str, Any] = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(where, str(problem["loc"][-1]), model)
    if kind == "missing":
        return f"{where} is missing; add it"
    if kind == "json_invalid":
        return f"not JSON: {one_line(str(context.get('error', '')))}; take the file as it was written"
    if kind in ("value_error", "assertion_error"):  # our own validators: a whole sentence with its remedy
        sentence = problem["msg"].partition(", ")[2]
        return f"{where}: {sentence}" if where else sentence
    fault, remedy = _fault(kind, context)
    return f"{where}: {show(value)} {fault}; {remedy}"


def _fault(kind: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong with the value, and what to write instead, for pydantic's error type."""
    if kind in LIMITS:
        limit = next(iter(context.values()), "?")
        limit = int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        return f"is {LIMITS[kind][0]} {limit}", f"write a number {LIMITS[kind][1]} {limit}"
    if kind == "literal_error":
        return f"is not one of {context.get('expected')}", "write one of these"
    if kind in ("too_short", "string_too_short"):
        return "is too short", f"at least {context.get('min_length')} needed"
    if kind in ("too_long", "string_too_long"):
        return "is too long", f"at most {context.get('max_length')} allowed"
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return "has the wrong form", FORMS.get(pattern, f"it must match {pattern}")
    return KINDS.get(kind, ("is not valid", f"see docs ({kind})"))


FORMS = {  # the patterns of swarm/run/schema.py and swarm/settings.py in words; a test asks for one for each
    r"^[0-9a-f]{64}$": "write a SHA-256, 64 hex digits",
    r"^[0-9a-f]{128}$": "a signature has 128 hex digits",
    r"^[a-z]{2,4}(-[A-Za-z0-9]{2,8}){0,2}$": 'write a language code such as "en", "sw" or "zh-Hans"',
    r"^[a-z0-9][a-z0-9-]{0,62}$": 'write at most 63 lower-case letters, digits and dashes, such as "my-run"',
    r"^[a-z][a-z0-9-]{0,31}$": 'write a name such as "hivemind"',
    r"^[a-z][a-z0-9-]{0,31}@[0-9]{1,4}$": 'write name@version, such as "int8-block@1"',
    r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}$": 'write a version such as "0.1.0"',
    r"^(auto|cpu|mps|cuda(:[0-9]{1,2})?)$": 'write "auto", "cpu", "cuda", "cuda:1" or "mps"',
}
LIMITS = {
    "greater_than": ("not above", "above"),
    "greater_than_equal": ("below", "of at least"),
    "less_than": ("not below", "below"),
    "less_than_equal": ("above", "of at most"),
}
WHOLE = ("is not a whole number", "write a whole number such as 4")
TABLE = ("is not a table", "write a [section] with its own keys")
KINDS = {
    "int_type": WHOLE,
    "int_from_float": WHOLE,
    "int_parsing": WHOLE,
    "int_parsing_size": ("is too large a number", "write a smaller one"),
    "float_type": ("is not a number", "write a number such as 0.001, without quotes"),
    "finite_number": ("is not a finite number", "write a number such as 0.001"),
    "bool_type": ("is not true or false", "write true or false, without quotes"),
    "string_type": ("is not text", 'write it in quotes, such as "en"'),
    "string_unicode": ("is not valid Unicode text", "write it as UTF-8"),
    "tuple_type": ("is not a list", 'write a list such as ["en", "fr"], or one [[section]] for each'),
    "dict_type": TABLE,
    "model_type": TABLE,
    "model_attributes_type": TABLE,
    "path_type": ("is not a path", 'write a path in quotes, such as "corpus/train"'),
}


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not BRANCH_TAG.match(part):  # pydantic's names for the branches of a union are no keys of the file
            text += f".{one_line(part)[:60]}" if text else one_line(part)[:60]
    return text


def _unknown_key(where: str, key: str, model: type[BaseModel]) -> str:
    """The nearest key of the same table, else the table where a key of that very name belongs."""
    table = re.sub(r"\[\d+\]", "", where).rpartition(".")[0]
    known = list(_keys(model, ""))
    beside = [name for name in known if name.rpartition(".")[0] == table]
    close = difflib.get_close_matches(key, [name.rpartition(".")[2] for name in beside], n=1, cutoff=0.6)
    if close:
        return f"{where} is an unknown key; did you mean {close[0]}?"
    elsewhere = [name for name in known if name.rpartition(".")[2] == key]
    if elsewhere:
        return f"{where} is an unknown key here; it belongs to {elsewhere[0]}"
    names = ", ".join(name.rpartition(".")[2] for name in beside)
    return f"{where} is an unknown key; known here: {names}" if names else f"{where} is an unknown key; remove it"


def _keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _models(field.annotation):
            yield from _keys(inner, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    if typing.get_origin(annotation) is not dict:
        for inner in typing.get_args(annotation):
            yield from _models(inner)
