"""What is wrong with a parameter file, in the words of the file."""

from __future__ import annotations

from typing import Annotated, get_args, get_origin

from pydantic import BaseModel, ValidationError

from heml.meant import meant


def explain(error: ValidationError, model: type[BaseModel], section: str = "") -> str:
    """One line per fault in what `model` was asked to hold: the key below `section`, what is wrong with it and what is
    allowed."""
    lines = []
    for fault in error.errors():
        keys, _ = _walk(fault["loc"], model)
        key = ".".join([*filter(None, [section]), *keys]) or "(whole file)"
        if fault["type"] == "extra_forbidden":
            _, kind = _walk(fault["loc"][:-1], model)
            assert isinstance(kind, type)  # only a model forbids keys
            assert issubclass(kind, BaseModel)
            allowed = sorted(kind.model_fields)
            lines.append(f"{key}: unknown key; allowed here: {', '.join(allowed)}{meant(keys[-1], allowed)}")
        elif fault["type"] == "missing":
            lines.append(f"{key}: missing")
        else:
            value = fault["input"]
            shown = "" if isinstance(value, dict) else f" (got {value!r})"
            lines.append(f"{key}: {fault['msg'].removeprefix('Value error, ')}{shown}")
    return "; ".join(lines)


def _walk(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[list[str], object]:
    """The keys of a pydantic location as they stand in the file, and the type of the section there.

    Where a section is one of several kinds, the location names the kind, which is no key; neither is `[key]`.
    """
    keys: list[str] = []
    section: object = model
    for part in location:
        kinds = {get_args(kind.model_fields[name].annotation)[0]: kind for kind, name in _kinds(section)}
        if part in kinds:
            section = kinds[part]
            continue
        if part == "[key]":
            continue
        keys.append(str(part))
        if isinstance(section, type) and issubclass(section, BaseModel):
            field = section.model_fields.get(str(part))
            section = field and (Annotated[field.annotation, field] if field.discriminator else field.annotation)
        elif get_origin(section) is dict:  # any key leads to its value type
            section = get_args(section)[1]
    return keys, section


def _kinds(section: object) -> list[tuple[type[BaseModel], str]]:
    """The kinds that a section can be of, each with the key that tells which."""
    if get_origin(section) is not Annotated:
        return []
    union, *metadata = get_args(section)
    name = next((m.discriminator for m in metadata if getattr(m, "discriminator", None)), None)
    return [(kind, name) for kind in get_args(union)] if name else []
