"""What a baseline reaches, what it costs and how it explains the report's pairs → reports/comparison/<name>/."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage


def main(name: str) -> None:
    params = load_params()
    params.baseline(name)
    from heml.baselines.comparison import write_comparison  # brings torch: what is checked above need not wait for it

    row = write_comparison(name, params, Run())
    print(f"{name}: P@1 on test {row['p@1']:.3f}, {row['explanation_seconds']:.3f} s per explanation")


if __name__ == "__main__":
    with stage() as name:
        main(name)
