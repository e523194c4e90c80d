"""A small network that learns a node's metric → models/students/<name>.safetensors and reports/students/<name>.json."""

from heml.errors import HemlError
from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage


def main(name: str) -> None:
    params = load_params()
    if name not in params.students:
        raise HemlError(f"params.yaml: students has no {name!r}; it has {', '.join(params.students) or 'none'}")
    from heml.learning.distillation import build_student  # brings torch, which what is checked above need not wait for

    report = build_student(name, params.students[name], params.train, Run())
    for who, network in report["networks"].items():
        print(
            f"{who}: {network['parameters']:,} parameters, {network['bytes']:,} bytes,"
            f" {network['images_per_second']:.0f} images/s, P@1 {network['p@1']:.3f}, P@8 {network['p@8']:.3f} on test"
        )


if __name__ == "__main__":
    with stage() as name:
        main(name)
