"""The class of every pixel of every image → data/labelmaps."""

from heml.params import load_params
from heml.run import Run
from heml.running.spread import across_cores
from heml.running.stage import stage
from heml.segmentation.segment import segment_images


def main() -> None:
    settings = load_params().segmenter
    segment_images(settings.size, settings.batch_size, Run(), across_cores)


if __name__ == "__main__":
    with stage():
        main()
