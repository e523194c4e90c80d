"""The adapter of a data set by its parameters, and the data set's terms."""

from __future__ import annotations

from pathlib import Path

from heml.datasets.assemble import Adapted, Areas
from heml.datasets.card import load_card
from heml.params import AvatarsDataset, Dataset, HubDataset
from heml.terms import hub_terms


def open_dataset(params: Dataset, areas: Areas | None = None) -> Adapted:
    """Records, description and extra columns of the data set.

    Args:
        areas: the network that a rule with a `model` asks.

    Raises:
        HemlError: the data set cannot be had, or is not what the parameters or its card say.
    """
    if isinstance(params, AvatarsDataset):
        from heml.datasets.avatars import avatars  # a drawing library that nothing else needs

        return *avatars(params), []
    if isinstance(params, HubDataset):
        from heml.datasets.hub import hub

        return hub(params, areas)
    from heml.datasets.folder import folder

    return folder(params, areas)


def dataset_terms(params: Dataset) -> list[str]:
    """Lines on the licence and terms under which the data set stands, and the network that a rule asks."""
    if isinstance(params, AvatarsDataset):
        from heml.datasets.avatars import terms

        return terms()
    if isinstance(params, HubDataset):
        from heml.fetch import Repo  # the hub's client, for those who use the hub

        card = load_card(params.path)
        lines = [card.title, card.licence, card.cite, "", *hub_terms(Repo(params.repo, params.revision, "dataset"))]
    else:
        lines = _folder_terms(params.path)
    if params.rule and params.rule.model:
        from heml.fetch import model_repo

        if repo := model_repo(params.rule.model, params.rule.revision, "dataset.rule"):
            lines += ["", "The label is read off the images by", *hub_terms(repo)]
    return lines


def _folder_terms(folder: Path) -> list[str]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stem.upper() in ("LICENSE", "LICENCE", "TERMS"):
            return [f"{path}:", "", path.read_text("utf-8", errors="replace").strip()]
    return ["A folder of your own images; it holds no LICENSE or TERMS file."]
