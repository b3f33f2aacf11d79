"""JSON that a warehouse holds: of the right shape and types, or damaged, whoever has edited it."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from commonspace.pipeline.errors import ContractBroken

if TYPE_CHECKING:  # collection files are read without Arrow
    import pyarrow as pa

Value = TypeVar("Value")
LARGEST_COUNT = 2**63 - 1
"""Every integer that is stored counts or numbers something; Arrow's have 64 bits."""
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)
"""What making something of a document raises that another program has written."""


def read_document(
    data: pa.Buffer | bytes, key: str, parse: Callable[[Any], Value], do: str
) -> Value:
    """What `parse` makes of a JSON document, its types checked.

    Args:
        data: the bytes of the file.
        key: its key, for the message.
        parse: makes a dataclass of the document; whatever it raises of DAMAGE is damage.
        do: what the owner can do about it.

    Raises:
        ContractBroken: the document is damaged.
    """
    try:
        value = parse(json.loads(bytes(data)))
        check_types(value)
    except DAMAGE as error:
        raise ContractBroken(f"is damaged: {damage(error)}", item=key, do=do) from error
    return value


def damage(error: Exception) -> str:
    """What is wrong with a document, in words: only a plain ValueError says it itself."""
    match error:
        case json.JSONDecodeError():
            return f"it is not JSON (line {error.lineno})"
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "it is nested too deeply"
        case KeyError():
            return f"{error.args[0]!r} is missing"
        case ValueError():
            return str(error)
        case _:
            return "its shape is not what commonspace writes"


def made(kind: type[Value], document: Any) -> Value:
    """The dataclass with the document's values, which has its fields and no others.

    Raises:
        ValueError: a key is unknown or missing, or it is no object.
    """
    if not isinstance(document, Mapping):
        raise ValueError(f"{_type_name(document)} stands where an object belongs")  # noqa: TRY004
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(document.keys() - known.keys()):
        raise ValueError(f"the key {unknown[0]!r} is unknown")
    for name, field in known.items():
        if name not in document and field.default is field.default_factory is MISSING:
            raise ValueError(f"{name!r} is missing")
    return kind(**document)


def check_types(value: Any, where: str = "") -> None:
    """Refuse a dataclass with a value that is not of its field's type, at any depth.

    Integers must be counts: from 0 to LARGEST_COUNT.

    Raises:
        ValueError: naming the field.
    """
    kind: Any = type(value)
    for name, hint in _hints(kind).items():
        _check(getattr(value, name), hint, f"{where}{name}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields; none of anything else."""
    if not is_dataclass(kind):
        return {}
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _check(value: Any, hint: Any, where: str) -> None:
    if hint is Any:
        return
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        _check_union(value, inner, where)
    elif origin is Literal:
        _require(value in inner, value, f"one of {', '.join(map(repr, inner))}", where)
    elif origin is not None and issubclass(origin, Mapping):
        _require(isinstance(value, Mapping), value, "an object", where)
        for key, each in value.items():
            _check(each, inner[1], f"{where}.{key}")
    elif origin in {tuple, list, frozenset}:
        _require(isinstance(value, origin), value, "a list", where)
        for number, each in enumerate(value):
            _check(each, inner[0], f"{where}[{number}]")
    else:
        _check_plain(value, hint, where)


def _check_plain(value: Any, kind: type[Any], where: str) -> None:
    if kind is int:
        is_count = type(value) is int and 0 <= value <= LARGEST_COUNT
        _require(is_count, value, "a count", where)
    elif kind is float:
        _require(type(value) in {int, float}, value, "a number", where)
    else:
        _require(isinstance(value, kind), value, _NAMES.get(kind, "an object"), where)
        check_types(value, f"{where}.")


def _check_union(value: Any, kinds: tuple[Any, ...], where: str) -> None:
    """Of `X | None`; there is no other union in what is stored."""
    if value is not None or type(None) not in kinds:
        for kind in kinds:
            if kind is not type(None):
                _check(value, kind, where)


_NAMES = {str: "a text", bool: "true or false", int: "a number", float: "a number",
          type(None): "null", list: "a list", tuple: "a list", frozenset: "a list"}  # fmt: skip


def _type_name(value: Any) -> str:
    return _NAMES.get(type(value), "an object")


def _require(is_right: bool, value: Any, wanted: str, where: str) -> None:
    if not is_right:
        given = f"{value!r:.60}" if isinstance(value, int | float) else _type_name(value)
        raise ValueError(f"{where} is {given}, not {wanted}")
