"""Fit, fetch or stand in for a SegFormer → models/segmenter, and how good it is → reports/segmenter.json."""

from pathlib import Path

from heml.errors import exit_on_error
from heml.params import load_params
from heml.segmentation.prepare import prepare_segmenter


def main() -> None:
    report = prepare_segmenter(
        load_params().segmenter, Path("data/images"), Path("models/segmenter"), Path("reports/segmenter.json"), Path("models/checkpoints")
    )
    print(f"segmenter: {report['source']}" + (f", mIoU {report['miou']:.3f} on {report['split']}" if "miou" in report else ""))


if __name__ == "__main__":
    with exit_on_error():
        main()
