"""One other method, trained on the same images → models/baselines/<name>.safetensors and
reports/baselines/<name>.json."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage


def main(name: str) -> None:
    params = load_params()
    params.baseline(name)
    from heml.baselines.build import build_baseline  # brings torch, which what is checked above need not wait for

    report = build_baseline(name, params, Run())
    score = "P@1 on val not measured" if report["val_p1"] is None else f"P@1 on val {report['val_p1']:.3f}"
    print(f"{name}: {report['note'] or score}")


if __name__ == "__main__":
    with stage() as name:
        main(name)
