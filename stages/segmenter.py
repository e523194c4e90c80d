"""Fit, fetch or stand in for a SegFormer → models/segmenter, how good it is and its terms → reports/segmenter.json,
reports/terms."""

from pathlib import Path

from heml.params import load_params
from heml.running.stage import stage
from heml.segmentation.prepare import prepare_segmenter, segmenter_terms
from heml.terms import keep_terms


def main() -> None:
    settings = load_params().segmenter
    report = prepare_segmenter(
        settings,
        Path("data/images"),
        Path("models/segmenter"),
        Path("reports/segmenter.json"),
        Path("models/checkpoints"),
    )
    keep_terms("reports/terms/segmenter.txt", "Segmenter", segmenter_terms(settings))
    for note in report.get("notes", []):
        print(f"segmenter: {note}")
    print(
        f"segmenter: {report['source']}"
        + (f", mIoU {report['miou']:.3f} on {report['split']}" if "miou" in report else "")
    )


if __name__ == "__main__":
    with stage():
        main()
