"""Property values of the engine as plain Python values, and back; and where two of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.provider.experimental.provider import PropertyDiffKind
from pulumi.runtime import rpc

from stacks.provider.inputs import Plain

UNKNOWN = Computed()
"""What a preview does not know yet."""


def plain(properties: Mapping[str, PropertyValue]) -> Plain:
    """Properties as plain values; what is not known yet is UNKNOWN."""
    return {name: _plain(value) for name, value in properties.items()}


def marshalled(properties: Mapping[str, Any]) -> dict[str, PropertyValue]:
    """Plain values as the engine takes them."""
    return {name: _value(value) for name, value in properties.items()}


def has_unknown(value: Any) -> bool:
    """Whether something in the value is not known yet."""
    if isinstance(value, Mapping):
        return any(has_unknown(one) for one in value.values())
    if isinstance(value, list):
        return any(has_unknown(one) for one in value)
    return isinstance(value, Computed)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, PropertyDiffKind]]:
    """The property paths at which two values differ, as deep as maps go: a list differs as a whole."""
    for name in sorted(old.keys() | new.keys()):
        path = f"{at}.{name}" if at else name
        if name not in old:
            yield path, PropertyDiffKind.ADD
        elif name not in new:
            yield path, PropertyDiffKind.DELETE
        elif isinstance(old[name], Mapping) and isinstance(new[name], Mapping):
            yield from differences(old[name], new[name], path)
        elif old[name] != new[name]:
            yield path, PropertyDiffKind.UPDATE


def _plain(value: PropertyValue) -> Any:
    content = value.value
    if isinstance(content, Mapping):
        return {name: _plain(one) for name, one in content.items()}
    if isinstance(content, tuple):
        return [_plain(one) for one in content]
    return UNKNOWN if content == rpc.UNKNOWN else content


def _value(value: Any) -> PropertyValue:
    if isinstance(value, Mapping):
        return PropertyValue({name: _value(one) for name, one in value.items()})
    if isinstance(value, list | tuple):
        return PropertyValue([_value(one) for one in value])
    if isinstance(value, Computed):  # on the wire it is this text, which the SDK neither reads nor writes
        return PropertyValue(rpc.UNKNOWN)
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)
