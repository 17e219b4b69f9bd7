"""How the arguments of an action are read: only what is lossless is converted."""

from __future__ import annotations

import types
from functools import partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError, from_json

_OPENING = {list: "[", tuple: "[", set: "[", frozenset: "[", dict: "{"}


def readable(annotation: Any, *, reads_text: bool = True) -> Any:
    """An annotation with the rules by which arguments are read, at every depth.

    Numbers are read from text, and whole numbers from floats. With `reads_text`, a list, a tuple or a dict is read from
    JSON text. A truth value is never a number, and nothing else becomes a text. A union takes the first member that
    fits without conversion, else the first that can be converted to. Other types are read as pydantic does.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and annotation in _LEAVES:
        return Annotated[annotation, _LEAVES[annotation]]
    if origin is Annotated:
        inner = readable(arguments[0])
        if get_origin(inner) is not Annotated:
            return Annotated[inner, *annotation.__metadata__]
        # Bounds belong to the type itself, so that they stand in the schema.
        return Annotated[get_args(inner)[0], *annotation.__metadata__, *inner.__metadata__]
    if origin is Literal:
        return Annotated[annotation, BeforeValidator(partial(_one_of, arguments))]
    if origin in {Union, types.UnionType}:
        reads_text = str not in arguments
        return Union[tuple(readable(member, reads_text=reads_text) for member in arguments)]  # noqa: UP007 - of types known at run time only
    kind: Any = annotation if isinstance(annotation, type) else origin
    if kind not in _OPENING:
        return annotation
    if arguments:
        annotation = kind[tuple(member if member is Ellipsis else readable(member) for member in arguments)]
    return Annotated[annotation, BeforeValidator(partial(_from_text, _OPENING[kind]))] if reads_text else annotation


def _number(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    value = _without_numpy(value)
    if isinstance(value, bool):
        raise PydanticCustomError("number", "should be a number, not a truth value")
    return read(value)


def _text(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("text", "should be a text")
    return read(value)


def _truth(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(_without_numpy(value), bool):
        raise PydanticCustomError("truth", "should be true or false")
    return read(value)


def _float(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    number = _number(value, read)
    return value if type(value) is int else number  # 2 stays 2


def _without_numpy(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _one_of(options: tuple[Any, ...], value: Any) -> Any:
    value = _without_numpy(value)
    for option in options:
        is_number = {type(option), type(value)} <= {int, float}
        if option == value and (type(option) is type(value) or is_number):
            return option
    raise PydanticCustomError("one_of", "should be {options}", {"options": " or ".join(map(repr, options))})


def _from_text(opening: str, value: Any) -> Any:
    """The list or dict that a text holds as JSON; anything else as it is."""
    if isinstance(value, str) and value.strip()[:1] == opening:
        try:
            return from_json(value.strip())
        except ValueError:
            pass
    return value


_LEAVES = {
    int: WrapValidator(_number),
    float: WrapValidator(_float),
    bool: WrapValidator(_truth),
    str: WrapValidator(_text),
}
