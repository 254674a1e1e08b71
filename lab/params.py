"""Parameters described once, in dataclass field metadata, for the page, the command line and the checks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, get_args, get_type_hints

from lab.types import ParamError

Value = float | int | bool | str | None
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Param:
    """One parameter of a method.

    Attributes:
        name: as in code.
        kind: float, int, bool or str (one of `choices`).
        default: the value when none is given; None only where `optional`.
        bounds: inclusive range of a number; per value of the parameter `bounds_by` where that is set.
        unit: what the number counts, e.g. "of the pixel range".
        help: one sentence for a person.
        choices: the allowed values of a str.
        optional: None is allowed and means "automatic", as the help says.
        bounds_by: the name of the choice parameter on which the range depends.
        pixels: the number is on the pixel scale, shown as n/255.
        advanced: forms show it only on demand.
    """

    name: str
    kind: type
    default: Value
    bounds: Bounds | Mapping[str, Bounds] | None
    unit: str
    help: str
    choices: tuple[str, ...] = ()
    optional: bool = False
    bounds_by: str | None = None
    pixels: bool = False
    advanced: bool = False

    def range(self, others: Mapping[str, Value]) -> Bounds | None:
        """The inclusive range, given the values of the other parameters."""
        if isinstance(self.bounds, Mapping):
            return self.bounds[str(others[self.bounds_by or ""])]
        return self.bounds


def param(
    default: Value,
    *,
    help: str,
    bounds: Bounds | Mapping[str, Bounds] | None = None,
    unit: str = "",
    bounds_by: str | None = None,
    pixels: bool = False,
    advanced: bool = False,
) -> Any:
    """A dataclass field that carries its range, unit and help."""
    about = {"bounds": bounds, "unit": unit, "help": help, "bounds_by": bounds_by, "pixels": pixels}
    about["advanced"] = advanced
    return dataclasses.field(default=default, metadata=about)


def describe(cls: type, preset: Mapping[str, Value], offers: Collection[str] | None = None) -> tuple[Param, ...]:
    """The parameters of a dataclass in order: those offered (None for all), with the preset values as defaults."""
    hints = get_type_hints(cls)
    found = []
    for f in dataclasses.fields(cls):
        if not f.metadata or (offers is not None and f.name not in offers):
            continue
        kinds = [t for t in get_args(hints[f.name]) if t is not type(None)]
        literal = isinstance(kinds[0], str) if kinds else False
        kind = str if literal else (kinds[0] if kinds else hints[f.name])
        default = preset.get(f.name, None if f.default is MISSING else f.default)
        found.append(
            Param(
                name=f.name,
                kind=kind,
                default=default,
                choices=tuple(kinds) if literal else (),
                optional=type(None) in get_args(hints[f.name]),
                **f.metadata,
            )
        )
    return tuple(found)


def number(text: str | float) -> float:
    """A number from `0.03`, `8/255` or a number.

    Raises:
        ParamError: for anything else.
    """
    try:
        if isinstance(text, (int, float)):
            return float(text)
        over, slash, under = text.partition("/")
        return float(over) / float(under) if slash else float(text)
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        raise ParamError(f"'{text}' is not a number: write it as 0.03 or 8/255") from None


def parse(params: tuple[Param, ...], given: Mapping[str, Any], what: str) -> dict[str, Value]:
    """Every parameter's value: the given one, checked, or the default.

    Args:
        params: the parameters that exist.
        given: values by name; numbers may be text such as "8/255".
        what: the method's name, for the error.

    Raises:
        ParamError: for an unknown name, a wrong type, a value out of range, NaN or infinity.
    """
    names = [p.name for p in params]
    for name in given:
        if name not in names:
            raise ParamError(f"{what} has no parameter '{name}': it takes {', '.join(names)}")
    values = {p.name: _typed(p, given[p.name]) if p.name in given else p.default for p in params}
    for p in params:
        _check_range(p, values)
    return values


def _typed(p: Param, value: Any) -> Value:
    if p.optional and (value is None or (isinstance(value, str) and value in ("", "auto"))):
        return None
    if p.choices:
        if value not in p.choices:
            raise ParamError(f"{p.name} must be one of {', '.join(p.choices)}, not '{value}'")
        return str(value)
    if p.kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "1", "yes", "on", "false", "0", "no", "off"):
            return str(value).lower() in ("true", "1", "yes", "on")
        raise ParamError(f"{p.name} must be true or false, not '{value}'")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        got = value if value is None or isinstance(value, bool) else type(value).__name__
        raise ParamError(f"{p.name} must be a number, not {got}")
    x = number(value)
    if not math.isfinite(x):
        raise ParamError(f"{p.name} must be a finite number, not {value}")
    if p.kind is int:
        if x != int(x):
            raise ParamError(f"{p.name} must be a whole number, not {value}")
        return int(x)
    return x


def _check_range(p: Param, values: Mapping[str, Value]) -> None:
    value, bounds = values[p.name], p.range(values)
    if bounds is None or value is None or isinstance(value, (bool, str)):
        return
    low, high = bounds
    if not low <= value <= high:
        where = f" for {p.bounds_by} {values[p.bounds_by]}" if p.bounds_by else ""
        unit = f" {p.unit}" if p.unit else ""
        raise ParamError(f"{p.name} must lie between {low:g} and {high:g}{unit}{where}, not {value:g}")
