"""What dvc.yaml says of a stage: its dependencies, parameters and outs, with the templates filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from heml.errors import HemlError
from heml.yaml_text import parse_yaml

Yaml = Mapping[str, Any]


def read_yaml(text: bytes, source: str) -> dict[str, Any]:
    """A YAML file's sections.

    Raises:
        HemlError: it is none.
    """
    found = parse_yaml(text, source)
    if not isinstance(found, dict):
        raise HemlError(f"{source}: has no sections")
    return found


@dataclass(frozen=True)
class Definition:
    """One stage."""

    deps: list[str]
    params: list[str]
    """Dotted keys of params.yaml."""
    outs: list[str]

    @classmethod
    def of(cls, name: str, pipeline: Yaml, params: Yaml) -> Definition:
        """The stage of a name, such as `manifest@hair`.

        Raises:
            HemlError: there is none.
        """
        group, _, key = name.partition("@")
        stage = pipeline.get("stages", {}).get(group)
        if stage is None:
            raise HemlError(f"dvc.yaml: has no stage {group!r}; `dvc stage list` names all")
        values: dict[str, Any] = dict(params)
        if "foreach" in stage:
            items = _found(params, _path(stage["foreach"]))
            if not isinstance(items, Mapping) or key not in items:
                raise HemlError(
                    f"params.yaml: {_path(stage['foreach'])} has no {key!r}, for which dvc.yaml would have a stage"
                    f" {name}"
                )
            values |= {"key": key, "item": items[key]}
            stage = stage["do"]
        outs = [*stage.get("outs", []), *stage.get("metrics", [])]
        return cls(
            [_filled(dep, values) for dep in stage.get("deps", [])],
            [_filled(param, values) for param in stage.get("params", [])],
            [_filled(out if isinstance(out, str) else next(iter(out)), values) for out in outs],
        )

    def parameters(self, params: Yaml) -> dict[str, Any]:
        """The stage's own parameters; None for what is not there."""
        return {key: _found(params, key) for key in self.params}


def all_names(pipeline: Yaml, params: Yaml) -> Iterator[str]:
    """The names of all stages."""
    for group, stage in pipeline["stages"].items():
        if "foreach" not in stage:
            yield group
            continue
        for key in _found(params, _path(stage["foreach"])) or {}:
            yield f"{group}@{key}"


def templated_outs(pipeline: Yaml) -> Iterator[str]:
    """Outs of which there is one for every key, as dvc.yaml writes them."""
    for stage in pipeline["stages"].values():
        yield from (out for out in stage.get("do", {}).get("outs", []))


def _path(template: str) -> str:
    return template.removeprefix("${").removesuffix("}")


def _filled(template: str, values: Yaml) -> str:
    return re.sub(r"\$\{([^}]+)\}", lambda match: str(_found(values, match[1])), template)


def _found(values: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(values, Mapping) or key not in values:
            return None
        values = values[key]
    return values
