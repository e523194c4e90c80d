"""Every image at training size → data/canvases."""

from heml.errors import exit_on_error
from heml.images.canvas import write_canvases
from heml.params import load_params


def main() -> None:
    count = write_canvases("data/images", "data/canvases", load_params().canvas)
    print(f"{count} canvases")


if __name__ == "__main__":
    with exit_on_error():
        main()
