"""Import a part of a library without the whole: a stage trains for seconds, and must not import for longer.

torchvision imports all of its models, data sets and, through one operator, torch's compiler to give one network; the
metric-learning library imports SciPy and scikit-learn to give one loss. What is deferred here is loaded by whoever
first asks for something that is not there yet, so that every name means what it always did.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """A module whose own code runs when a name is asked of it that it does not have; its submodules can be imported
    before."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # from now on it is what it would have been
        assert self.__spec__
        assert self.__spec__.loader
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def defer(*names: str) -> None:
    """Put off running the code of these modules, parents first; one that is imported already stays as it is.

    Only for packages whose submodules can be imported in any order.
    """
    for name in names:
        try:
            spec = None if name in sys.modules else importlib.util.find_spec(name)
        except ModuleNotFoundError:  # its parent is not there
            spec = None
        if spec is None:
            continue
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _Deferred
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            sys.modules[parent].__dict__[child] = module


@contextmanager
def no_compiler() -> Iterator[None]:
    """Within, torch does without `torch._dynamo`: its optimisers and some operators import that compiler only
    to tell it where not to compile, which takes as long as importing torch. Nothing may be compiled within.
    """
    name = "torch._dynamo"
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    stand_in.__dict__.update(graph_break=lambda: None, disable=lambda function, *_, **__: function)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
