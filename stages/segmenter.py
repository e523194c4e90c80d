"""Fit, fetch or stand in for a SegFormer → models/segmenter, how good it is and its terms → reports/segmenter.json,
reports/terms."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage
from heml.segmentation.prepare import prepare_segmenter, segmenter_terms
from heml.terms import keep_terms


def main() -> None:
    settings, run = load_params().segmenter, Run()
    report = prepare_segmenter(settings, run)
    keep_terms(run.terms("segmenter"), "Segmenter", segmenter_terms(settings))
    for note in report.get("notes", []):
        print(f"segmenter: {note}")
    print(
        f"segmenter: {report['source']}"
        + (f", mIoU {report['miou']:.3f} on {report['split']}" if "miou" in report else "")
    )


if __name__ == "__main__":
    with stage():
        main()
