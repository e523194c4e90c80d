"""`reports/comparison/<name>/`: a method's row and its explanations of the report's pairs; the tree's: `measure`."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt

from heml.atomic import new_folder
from heml.baselines.build import baseline_images, load_baseline
from heml.baselines.evidence_figure import evidence_figure
from heml.baselines.measure import baseline_row, prepared_pair
from heml.evaluation.telling import read_pairs
from heml.explanation.pictures import segment_picture
from heml.json_file import write_json
from heml.machine import best_device
from heml.params import Params
from heml.reading import BaselineReport, read_json
from heml.run import Run


def write_comparison(name: str, params: Params, run: Run) -> dict[str, Any]:
    """Measure a trained baseline and draw `pair-<k>.png`, its evidence on each of the report's pairs; returns its
    row."""
    settings = params.baselines[name]
    device = best_device()
    path = run.baseline(name)
    header, network = load_baseline(settings, path, device)
    images = baseline_images(settings, header.leaves, run)
    report = read_json(run.baseline_report(name), f"dvc repro baseline@{name}", BaselineReport)
    pairs = read_pairs(run.pairs, set(images.image_ids))
    with new_folder(run.comparison(name)) as partial:
        row = baseline_row(name, network, header, report, path, images, params.evaluate)
        write_json(partial / "row.json", row)
        for k, pair in enumerate(pairs[: params.report.pairs]):
            a, b = (images.image_ids.index(image_id) for image_id in pair)
            evidence = network.evidence(*prepared_pair(images, a, b, device))
            figure = evidence_figure(name, evidence, segment_picture(images, a), segment_picture(images, b))
            figure.savefig(partial / f"pair-{k}.png", dpi=110)
            plt.close(figure)
    return row
