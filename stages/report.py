"""Pictures, plots and the page → reports/index.html, reports/plots."""

from heml.params import load_params
from heml.reporting.finished import Finished
from heml.reporting.page import write_report
from heml.run import Run
from heml.running.stage import stage


def main() -> None:
    run = Run()
    write_report(Finished.read(load_params(), run))
    print(run.index)


if __name__ == "__main__":
    with stage():
        main()
