"""Every image at training size → data/canvases."""

from heml.images.canvas import write_canvases
from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage


def main() -> None:
    count = write_canvases(load_params().canvas, Run())
    print(f"{count} canvases")


if __name__ == "__main__":
    with stage():
        main()
