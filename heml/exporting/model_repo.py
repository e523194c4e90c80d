"""A finished run as the folder of a hub's model repository, which `MetricTree.from_pretrained` opens."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from heml.atomic import new_folder
from heml.errors import HemlError
from heml.explanation.metric_tree import MetricTree
from heml.explanation.published import SEGMENTER
from heml.exporting.model_card import Told, model_card
from heml.learning.checkpoints import load_state
from heml.params import parse_params
from heml.run import Run
from heml.segmentation.segment import segmenter_classes
from heml.tree import Tree


def write_model_repo(tree: MetricTree, run: Run, params_file: Path, folder: Path, licence: str = "other") -> bool:
    """Write `nodes/<node>.safetensors`, `metric.json`, `segmenter/`, `params.yaml` and `README.md`, the model card.

    Args:
        tree: of the run.
        params_file: the run's `params.yaml`, which goes along as it is.
        licence: of the weights, an identifier of the hub's such as `mit`; `other`: the terms of data and segmenter, as
            the card has them.

    Returns:
        Whether its segmenter is the data set's own masks, so that what opens it can explain no image files.

    Raises:
        HemlError: something of the run is missing, damaged or of another tree; a licence that is no identifier.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", licence):
        raise HemlError(
            f"--licence: {licence[:80]!r} is no identifier of a licence, such as mit, apache-2.0, cc-by-4.0 or other"
        )
    text = _read(params_file)
    params = parse_params(text, str(params_file))
    if list(Tree.from_params(params).nodes.values()) != list(tree.tree.nodes.values()):
        raise HemlError(
            f"{params_file}: has another tree than {run.models}; run `dvc repro`, or name the run's own with --params"
        )
    told = Told.read(run, tree.tree)
    masks, _ = segmenter_classes(run.segmenter)
    with new_folder(folder) as partial:
        to = Run(models=partial)
        to.nodes.mkdir()
        for node in tree.tree:
            load_state(run.node(node.name))  # whose checksum is held against its weights
            shutil.copyfile(run.node(node.name), to.node(node.name))
        shutil.copyfile(run.metric, to.metric)
        to.segmenter.mkdir()
        for path in sorted(run.segmenter.iterdir()):
            if re.fullmatch(SEGMENTER, f"segmenter/{path.name}"):
                shutil.copyfile(path, to.segmenter / path.name)
        (partial / "params.yaml").write_text(text, "utf-8")
        (partial / "README.md").write_text(model_card(tree, params, told, licence, masks), "utf-8")
    return masks


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise HemlError(f"{path}: no such file; name the run's own with --params") from None
    except (OSError, ValueError) as error:
        raise HemlError(f"{path}: cannot be read ({error})") from None
