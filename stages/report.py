"""Pictures, plots and the page → reports/index.html, reports/plots."""

from pathlib import Path

from heml.errors import exit_on_error
from heml.params import load_params
from heml.reporting.page import load_run, write_report


def main() -> None:
    write_report(load_run(load_params()), Path("reports"))
    print("reports/index.html")


if __name__ == "__main__":
    with exit_on_error():
        main()
