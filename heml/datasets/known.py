"""What the parameter files of a project name: data sets and models, their size, licence and what of them is on this
machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from heml.datasets.adapters import adapter
from heml.datasets.cached import cached
from heml.errors import HemlError
from heml.fetch import Repo, on_disk
from heml.params import Params, load_params
from heml.terms import stated_licence


@dataclass(frozen=True)
class Known:
    """One parameter file's data set and segmenter, in words."""

    preset: str
    title: str
    lines: list[str]


def known_sources(paths: Iterable[Path], project: Path = Path()) -> Iterator[Known]:
    """What each parameter file of the project names. Nothing is fetched."""
    for path in paths:
        try:
            params = load_params(path)
            title, lines = adapter(params.dataset).told(project)
            yield Known(path.stem, title, lines + _model(params))
        except HemlError as error:  # one that is wrong must not hide the others
            yield Known(path.stem, f"cannot be read: {error}", [])


def _model(params: Params) -> list[str]:
    settings, rule = params.segmenter, params.dataset.label_rule
    if settings.model is None:
        lines = [
            "segments:"
            f" {'the masks of the data set' if settings.source == 'masks' else 'a SegFormer fitted to its masks'}"
        ]
    else:
        lines = _network("segments", settings.model, settings.revision)
    return lines + (_network("label", rule.model, rule.revision) if rule and rule.model else [])


def _network(what: str, model: str, revision: str | None) -> list[str]:
    if revision is None:
        return [f"{what}: {model}"]
    repo = Repo(model, revision, "model")
    there = cached(repo, ["config.json", "preprocessor_config.json", "*.safetensors"])
    licence = stated_licence(on_disk(repo, "README.md")) or "told when it is fetched"
    return [f"{what}: {repo.id}, commit {repo.revision}", f"  licence: {licence}; on disk: {there}"]
