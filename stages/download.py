"""Images, labels, splits and masks of the data set → data/images, and its terms → reports/terms/dataset.txt."""

from heml.datasets.adapters import dataset_terms, open_dataset
from heml.datasets.assemble import Areas
from heml.datasets.store import Description, write_images
from heml.errors import exit_on_error
from heml.params import Dataset, load_params
from heml.terms import keep_terms


def main() -> None:
    dataset = load_params().dataset
    records, description, extra = open_dataset(dataset, _areas(dataset))
    count = write_images("data/images", records, description, extra)
    keep_terms("reports/terms/dataset.txt", f"Data set {description.name}", dataset_terms(dataset))
    print(_summary(count, description))


def _areas(dataset: Dataset) -> Areas | None:
    """The network that reads labels off the images, where a rule names one."""
    rule = getattr(dataset, "rule", None)
    if rule is None or rule.model is None:
        return None
    from heml.segmentation.areas import covered  # a network is in play for such a rule alone

    return covered(rule)


def _summary(count: int, description: Description) -> str:
    skipped = f", {len(description.skipped)} skipped" if description.skipped else ""
    classes = f", {len(description.classes)} mask classes" if description.classes else ", no masks"
    return f"{count} images{skipped}, label {description.label!r} with {len(description.label_names)} values{classes}"


if __name__ == "__main__":
    with exit_on_error():
        main()
