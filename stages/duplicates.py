"""What stands in two splits → reports/duplicates.csv."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage


def main() -> None:
    params, run = load_params(), Run()
    from heml.atomic import new_file
    from heml.cells import write_csv
    from heml.evaluation.duplicates import near_duplicates  # brings torch, which the check above need not wait for

    found = near_duplicates(run.canvases, params.evaluate.near_duplicate)
    with new_file(run.duplicates) as partial:
        write_csv(found, partial)
    print(f"{len(found)} near-duplicates across splits")


if __name__ == "__main__":
    with stage():
        main()
