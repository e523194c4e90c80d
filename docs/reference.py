"""docs/reference/: every parameter from heml/params/, and the Python face from its docstrings.

python docs/reference.py       # after a change of either; a test holds the committed pages against this
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from heml import params as module
from heml.params import EMBEDDERS, LEVELS, LOSSES, METHOD_KINDS, Name, Params, Train

DOCS = Path(__file__).parent
ROOT = DOCS.parent

NAMES = {
    "loss": "[loss](../methods.md#losses)",
    "miner": "[miner](../methods.md#miners)",
    "distance": "[distance](../methods.md#distances)",
    "trunk": "[trunk](../methods.md#trunks)",
    "embedder": "[embedder](../methods.md#embedders-and-feature-augmentation)",
}
"""Keys whose values are names from the tables of another page."""


PATTERN = list(Name.__metadata__[0].metadata)
"""What makes text a name."""


# Parameters


@cache
def _classes(file: str) -> dict[str, ast.ClassDef]:
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef)}


def _attributes(node: ast.ClassDef) -> dict[str, tuple[str, str]]:
    """Annotated names of a class → annotation, and the string below it."""
    found = {}
    for line, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            value = below.value if isinstance(below, ast.Expr) else None
            told = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
            found[line.target.id] = (ast.unparse(line.annotation), " ".join(told.split()))
    return found


@cache
def _sections() -> dict[str, ast.ClassDef]:
    files = (path.relative_to(ROOT).as_posix() for path in (ROOT / "heml" / "params").glob("*.py"))
    return {name: node for file in files for name, node in _classes(file).items()}


def _meaning(section: type[BaseModel], key: str) -> str:
    """The string below a key, in the class itself or the nearest above it."""
    for kind in section.__mro__:
        node = _sections().get(kind.__name__)
        if node and key in _attributes(node):
            return _attributes(node)[key][1]
    return ""


def _bounds(metadata: list[Any]) -> str:
    """Limits in words."""
    told = {name: getattr(m, name) for m in metadata for name in ("ge", "gt", "le", "lt") if hasattr(m, name)}
    low = f"{told['ge']:,} or more" if "ge" in told else f"above {told['gt']:,}" if "gt" in told else ""
    high = f"at most {told['le']:,}" if "le" in told else f"below {told['lt']:,}" if "lt" in told else ""
    if "ge" in told and "le" in told:
        return f"{told['ge']:,} to {told['le']:,}"
    return ", ".join(filter(None, (low, high)))


def _type(key: str, kind: Any, metadata: list[Any]) -> str:
    """A type in words."""
    some = (
        [option for option in get_args(kind) if option is not NoneType]
        if get_origin(kind) in (Union, UnionType)
        else [kind]
    )
    null = ["null"] if NoneType in get_args(kind) else []
    if key in NAMES and get_origin(kind) is not Literal:
        return "; or ".join([NAMES[key] + (" or `trained`" if "trained" in str(kind) else ""), *null])
    return "; or ".join([*(_one_type(option, metadata) for option in some), *null])


def _one_type(kind: Any, metadata: list[Any]) -> str:
    if kind == Name or (kind is str and metadata == PATTERN):
        return "name"
    if hasattr(kind, "__metadata__"):
        return _one_type(kind.__origin__, kind.__metadata__[0].metadata)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is list:
        return f"list of {'names' if get_args(kind)[0] == Name else 'words'}"
    if get_origin(kind) is tuple:
        return f"list of {len(get_args(kind))} numbers"
    if get_origin(kind) is dict:
        return "name → number"
    plain = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}[kind]
    return ", ".join(filter(None, (plain, _bounds(metadata) if kind in (int, float) else "")))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return _value(field.get_default())


def _value(value: Any) -> str:
    """As YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _rows(
    section: type[BaseModel], leave_out: tuple[str, ...] = (), before: str = "", given: BaseModel | None = None
) -> list[str]:
    """Rows of a section's table, a section in it by dotted keys."""
    rows = []
    for key, field in section.model_fields.items():
        if key in leave_out:
            continue
        inner = [
            kind
            for kind in (field.annotation, *get_args(field.annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if inner:
            told = _meaning(section, key)
            if told:
                rows.append(
                    f"| `{before}{key}` | section | {'null' if field.default is None else ''} | {_cell(told)} |"
                )
            default = None if field.is_required() else field.get_default()
            rows += _rows(inner[0], (), f"{before}{key}.", default if isinstance(default, BaseModel) else None)
            continue
        default = _default(field) if given is None else _value(getattr(given, key))
        kind = _type(key, field.annotation, field.metadata)
        rows.append(f"| `{before}{key}` | {_cell(kind)} | {default} | {_cell(_meaning(section, key))} |")
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(section: type[BaseModel], leave_out: tuple[str, ...] = ()) -> str:
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *_rows(section, leave_out)])


def _told(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split())


ABOUT = """\
Every key of `params.yaml`. A key that is not here, a value out of its range or a typing error is an error that names
the key and what is allowed; a key that is left out has its default. Sections named `<name>` stand once for each name
that you give. Made from `heml/params/` by `docs/reference.py`."""

TREE = f"""\
`level_0` names the leaves, which are segments; `level_1` to `level_{LEVELS - 1}` name nodes that join two of the levels
below. Every level stands there, if only as `{{}}`.

| key | type | default | meaning |
|---|---|---|---|
| `level_0.<name>` | section | | A leaf; its name is a segment's. |
| `level_1.<name>.left` | name | required | The first of the two nodes that it joins; likewise on the levels above. |
| `level_1.<name>.right` | name | required | The second. |"""


def _own(kind: type[BaseModel]) -> tuple[type[BaseModel], list[str]]:
    """The settings of a baseline's method alone, and the keys of `train` that it takes besides."""
    settings = next(base for base in kind.__mro__ if base.__name__ == f"{kind.__name__}Settings")
    return settings, [
        key for key in kind.model_fields if key not in {*settings.model_fields, *module.BaselineBase.model_fields}
    ]


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _options() -> str:
    rows = ["| | options |", "|---|---|"]
    for name, options in (LOSSES | EMBEDDERS).items():
        rows.append(f"| `{name}` | {', '.join(f'{key} {value:g}' for key, value in options.items()) or 'none'} |")
    return "\n".join(rows)


def parameters() -> str:
    """The page of every key of `params.yaml`."""
    parts = ["# Parameters", ABOUT, "## dataset", "`name` says which kind it is."]
    for kind in get_args(get_args(module.Dataset)[0]):
        name = get_args(kind.model_fields["name"].annotation)[0]
        parts += [f"### name: {name}", _told(kind), _table(kind, ("name",))]
    parts += ["## segmenter", _told(module.Segmenter), _table(module.Segmenter)]
    parts += ["## segments.&lt;name&gt;", _told(module.Segment) + " 2 to 64 of them.", _table(module.Segment)]
    parts += ["## canvas", _told(module.Canvas), _table(module.Canvas), "## tree", TREE]
    shared = [key for key in Train.model_fields if key not in module.Leaf.model_fields]
    parts += [f"A node may have keys of `train` for itself alone: all but {_listed(shared)}."]
    parts += ["## train", _told(Train), _table(Train)]
    parts += ["Options of losses (`loss_options`, but for `margin`) and of embedders (`embedder_options`):", _options()]
    for name in ("recompose", "students"):
        kind = get_args(Params.model_fields[name].annotation)[1]
        parts += [f"## {name}.&lt;name&gt;", _told(kind), _table(kind)]
    parts += ["## baselines.&lt;name&gt;", "`method` says which of four kinds it is. " + _told(module.BaselineBase)]
    for kind in METHOD_KINDS:
        settings, more = _own(kind)
        method = get_args(kind.model_fields["method"].annotation)[0]
        parts += [f"### method: {method}", _told(settings), _table(kind, ("method", *more))]
        parts += [f"For itself, as in `train`: {_listed(more)}."]
    for name in ("embed", "metric", "evaluate", "bias", "report"):
        kind = Params.model_fields[name].annotation
        parts += [f"## {name}", _told(kind), _table(kind)]
    return "\n\n".join(parts) + "\n"


# Python

FACE = {
    "heml/explanation/metric_tree.py": ["MetricTree"],
    "heml/explanation/pairs.py": ["Explanation", "NodeEvidence"],
    "heml/explanation/views.py": ["View"],
    "heml/explanation/exchange.py": ["Counterfactual"],
    "heml/evaluation/tree_metric.py": ["TreeMetric", "Term"],
    "heml/tree.py": ["Tree", "Node"],
    "heml/errors.py": ["HemlError"],
    "heml/images/decoding.py": ["BadImage"],
}
"""What `import heml` leads to: the tree, and what its methods take, return and raise."""


def _prose(told: str) -> str:
    """A docstring as Markdown: its sections as lists, its example as code."""
    text, *sections = re.split(r"\n(?=(?:Args|Raises|Returns|Example):\n)", told)
    parts = [text.rstrip()]
    for section in sections:
        head, body = section.split(":\n", 1)
        if head == "Example":
            lines = [
                re.sub(r"\s*# doctest:.*", "", line.strip(" ") if line.strip().startswith(">>>") else line[4:])
                for line in body.splitlines()
            ]
            parts.append("```pycon\n" + "\n".join(lines) + "\n```")
        else:
            items = re.split(r"\n(?=    \S)", body)
            listed = (re.sub(r"^([\w.]+):", r"`\1`:", " ".join(item.split())) for item in items)
            parts.append(f"{head}:\n\n" + "\n".join(f"- {item}" for item in listed))
    return "\n\n".join(parts)


def _signature(node: ast.FunctionDef) -> str:
    given = ast.unparse(node.args).removeprefix("self, ").removeprefix("cls, ")
    given = "" if given in ("self", "cls") else re.sub(r"(?<=\S)=(?=\S)", " = ", given)
    return f"{node.name}({given})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")


def _class(node: ast.ClassDef) -> list[str]:
    parts = [f"## {node.name}", _prose(ast.get_docstring(node) or "")]
    rows = [
        f"| `{name}` | `{_cell(kind)}` | {_cell(told)} |"
        for name, (kind, told) in _attributes(node).items()
        if not name.startswith("_")
    ]
    methods = []
    for line in node.body:
        if not isinstance(line, ast.FunctionDef) or line.name.startswith("_") or not (told := ast.get_docstring(line)):
            continue
        decorators = [ast.unparse(d) for d in line.decorator_list]
        if {"property", "cached_property"} & set(decorators):
            kind = _cell(ast.unparse(line.returns)) if line.returns else ""
            rows.append(f"| `{line.name}` | `{kind}` | {_cell(' '.join(told.split('Raises:')[0].split()))} |")
        else:
            methods += [f"### {node.name}.{line.name}", f"```python\n{_signature(line)}\n```", _prose(told)]
    table = "\n".join(["| | type | |", "|---|---|---|", *rows])
    return [*parts, *([table] if rows else []), *methods]


PYTHON = """\
```python
import heml

tree = heml.MetricTree.load("models")
explanation = tree.explain("a.jpg", "b.jpg")
print(explanation.sentence)
```

`heml.MetricTree` and `heml.__version__` are the public names; below is what its methods take, return and raise. An
image is given as a file, an image_id of the data set, or an opened Pillow image. Made from the docstrings by
`docs/reference.py`."""


def python() -> str:
    """The page of the public names and of what they return."""
    parts = ["# Python", PYTHON]
    for file, names in FACE.items():
        for name in names:
            parts += _class(_classes(file)[name])
    return "\n\n".join(parts) + "\n"


PAGES = {"parameters.md": parameters, "python.md": python}


if __name__ == "__main__":
    for name, made in PAGES.items():
        (DOCS / "reference" / name).write_text(made(), "utf-8")
