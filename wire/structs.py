"""JSON objects as protobuf's `Struct`, and back. A Struct has doubles only; `wire.values.plain` restores integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from wire.frames import FrameError


def to_struct(data: Mapping[str, Any]) -> Struct:
    """A Struct of a JSON object.

    Raises:
        ValueError: a number that is not finite, or something that JSON has no value for.
    """
    return Struct(fields={key: _to_value(item) for key, item in data.items()})


def from_struct(struct: Struct) -> dict[str, Any]:
    """A JSON object of a Struct, numbers as they are. Recursion is bounded: a parser takes no more than 100 levels.

    Raises:
        FrameError: a value of no kind.
    """
    return {key: _from_value(value) for key, value in struct.fields.items()}


def _to_value(item: Any) -> Value:
    match item:
        case None:
            return Value(null_value=NULL_VALUE)
        case bool():
            return Value(bool_value=item)
        case str():
            return Value(string_value=item)
        case int() | float():
            if not math.isfinite(item):
                raise ValueError("a number is not finite")
            return Value(number_value=item)
        case Mapping():
            return Value(struct_value=to_struct(item))
        case list() | tuple():
            return Value(list_value=ListValue(values=[_to_value(element) for element in item]))
        case _:
            raise ValueError(f"{type(item).__name__} is not a JSON value")


def _from_value(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "bool_value":
            return value.bool_value
        case "string_value":
            return value.string_value
        case "number_value":
            return value.number_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [_from_value(element) for element in value.list_value.values]
        case _:
            raise FrameError("a value of no kind")
