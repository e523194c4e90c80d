"""Images, labels, splits and masks of the data set → data/images, and its terms → reports/terms/dataset.txt."""

from collections.abc import Iterator

from heml.datasets.adapters import adapter
from heml.datasets.assemble import Areas
from heml.images.shards import SPLITS, Description, count_labels, write_images
from heml.params import Dataset, load_params
from heml.run import Run
from heml.running.stage import stage
from heml.terms import keep_terms

MOST, FEW = 10, 10


def main() -> None:
    dataset, run = load_params().dataset, Run()
    source = adapter(dataset)
    records, description, extra = source.open(_areas(dataset))
    count = write_images(run.images, records, description, extra)
    keep_terms(run.terms("dataset"), f"Data set {description.name}", source.terms())
    print("\n".join(_summary(count, description, run, dataset.split_by == "label")))


def _areas(dataset: Dataset) -> Areas | None:
    """The network that reads labels off the images, where a rule names one."""
    rule = dataset.label_rule
    if rule is None or rule.model is None:
        return None
    from heml.segmentation.areas import covered  # a network is in play for such a rule alone

    return covered(rule)


def _summary(count: int, description: Description, run: Run, by_label: bool) -> Iterator[str]:
    classes = f", {len(description.classes)} mask classes" if description.classes else ", no masks"
    yield f"{count} images, label {description.label!r} with {len(description.label_names)} values{classes}"
    yield from (f"  {note}" for note in description.notes)
    counts = count_labels(run.images)
    for split in SPLITS if by_label else ():
        own = [n for (where, _), n in counts.items() if where == split]
        yield f"  {split}: {sum(own)} images of {len(own)} values of its own"
    for label, name in enumerate([] if by_label else description.label_names[:MOST]):
        numbers = {split: counts[split, label] for split in SPLITS}
        few = "  (few: expect wide intervals)" if min(numbers.values()) < FEW else ""
        yield f"  {name}: " + ", ".join(f"{n} {split}" for split, n in numbers.items()) + few
    if len(description.label_names) > MOST and not by_label:
        yield f"  and {len(description.label_names) - MOST} more values"
    for left_out in description.skipped[:MOST]:
        yield f"  skipped: {left_out['reason']}"
    if len(description.skipped) > MOST:
        yield f"  and {len(description.skipped) - MOST} more skipped, all listed in the report"


if __name__ == "__main__":
    with stage():
        main()
