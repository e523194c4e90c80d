"""What is asked of a data set, whatever its kind.

A kind's adapter is in the module of this folder that has the kind's name, and is its `ADAPTER`. It is imported when a
data set of its kind is asked, since a kind may need a library that the others do not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

from heml.datasets.assemble import Adapted, Areas
from heml.params import Dataset, DatasetBase
from heml.terms import hub_terms

P = TypeVar("P", bound=DatasetBase)


class Adapter(ABC, Generic[P]):
    """A data set by its parameters."""

    def __init__(self, params: P) -> None:
        self.params = params

    @abstractmethod
    def open(self, areas: Areas | None = None) -> Adapted:
        """Records, description and extra columns. The description has the evidence behind Bayes limits, or the looks of
        identities, where the source knows them.

        Args:
            areas: the network that a rule with a `model` asks.

        Raises:
            HemlError: the data set cannot be had, or is not what the parameters or its card say.
        """

    @abstractmethod
    def licence(self) -> list[str]:
        """Lines on the licence and terms under which the images stand."""

    @abstractmethod
    def told(self, project: Path) -> tuple[str, list[str]]:
        """A title, and lines `key: value` on its size, licence and what of it is on this machine. Nothing is fetched.

        Args:
            project: the folder to which `path` is relative.
        """

    def named_classes(self, project: Path) -> list[str]:
        """Classes of masks that are named without the images: none, unless the kind says otherwise.

        Args:
            project: the folder to which `path` is relative.
        """
        return []

    def terms(self) -> list[str]:
        """Lines on the licence and terms of the images, and of the network that a rule asks."""
        lines, rule = self.licence(), self.params.label_rule
        if rule and rule.model:
            from heml.fetch import model_repo  # the hub's client, for those who use the hub

            if repo := model_repo(rule.model, rule.revision, "dataset.rule"):
                lines += ["", "The label is read off the images by", *hub_terms(repo)]
        return lines


def adapter(params: Dataset) -> Adapter[Any]:
    """The adapter of a data set."""
    kind: type[Adapter[Any]] = import_module(f"heml.datasets.{params.name}").ADAPTER
    return kind(params)
