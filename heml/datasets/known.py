"""What the parameter files of a project name: data sets and models, their size, licence and what of them is on this
machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from heml.datasets.assemble import rows_needed
from heml.datasets.card import Card, load_card
from heml.errors import HemlError
from heml.fetch import Repo, known_files, on_disk
from heml.params import AvatarsDataset, HubDataset, Params, load_params
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
            yield Known(path.stem, *_dataset(load_params(path), project))
        except HemlError as error:  # one that is wrong must not hide the others
            yield Known(path.stem, f"cannot be read: {error}", [])


def _dataset(params: Params, project: Path) -> tuple[str, list[str]]:
    dataset = params.dataset
    if isinstance(dataset, AvatarsDataset):
        people = f"{dataset.images} images of {dataset.personas}" if dataset.personas else f"{dataset.images}"
        return f"{people} illustrated people, drawn on the spot", _model(params)
    if not isinstance(dataset, HubDataset):
        return f"the folder {dataset.path}", [
            f"on disk: {'yes' if (project / dataset.path).is_dir() else 'no'}",
            *_model(params),
        ]
    card = load_card(project / dataset.path)
    repo = Repo(dataset.repo, dataset.revision, "dataset")
    limits = ", ".join(f"{n:,} {split}" for split, n in dataset.limit.model_dump().items() if n is not None)
    lines = [
        f"data set: {repo.id}, commit {repo.revision}",
        f"images:   {f'{card.images:,}' if card.images else 'not stated'}{f'; used: {limits}' if limits else ''}",
        f"size:     {_size(repo, card)}",
        f"licence:  {card.licence}",
        f"on disk:  {_there(repo, _patterns(card))}{_partly(card, dataset)}",
    ]
    return card.title, lines + _model(params)


def _patterns(card: Card) -> list[str]:
    return [files.path for files in card.files]


def _partly(card: Card, dataset: HubDataset) -> str:
    """That a subset needs a part of the files."""
    return (
        "; a subset needs a part of it"
        if any(rows_needed(files.splits, dataset) is not None for files in card.files)
        else ""
    )


def _model(params: Params) -> list[str]:
    settings, rule = params.segmenter, getattr(params.dataset, "rule", None)
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
    there = _there(repo, ["config.json", "preprocessor_config.json", "*.safetensors"])
    licence = stated_licence(on_disk(repo, "README.md")) or "told when it is fetched"
    return [f"{what}: {repo.id}, commit {repo.revision}", f"  licence: {licence}; on disk: {there}"]


def _size(repo: Repo, card: Card) -> str:
    files = known_files(repo)
    if files is None:
        return f"about {card.gigabytes:g} GB" if card.gigabytes else "not known before the first download"
    return _bytes(sum(size for name, size in files.items() if any(fnmatchcase(name, p) for p in _patterns(card))))


def _there(repo: Repo, patterns: list[str]) -> str:
    """How much of the matching files is in this machine's cache."""
    files = {
        name: size for name, size in (known_files(repo) or {}).items() if any(fnmatchcase(name, p) for p in patterns)
    }
    here = {name: size for name, size in files.items() if on_disk(repo, name)}
    if not here:
        return "nothing"
    return f"{_bytes(sum(here.values()))} of {_bytes(sum(files.values()))}, {len(here)} of {len(files)} files"


def _bytes(number: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"
