"""Pictures, plots and the page → reports/index.html, reports/plots."""

from pathlib import Path

from heml.params import load_params
from heml.reporting.page import write_report
from heml.reporting.run import load_run
from heml.running.stage import stage


def main() -> None:
    write_report(load_run(load_params()), Path("reports"))
    print("reports/index.html")


if __name__ == "__main__":
    with stage():
        main()
