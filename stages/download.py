"""Images, labels, splits and masks of the data set → data/images."""

from heml.datasets.store import Description, write_images
from heml.errors import exit_on_error
from heml.params import AvatarsDataset, load_params


def main() -> None:
    dataset = load_params().dataset
    extra: list[str] = []
    if isinstance(dataset, AvatarsDataset):
        from heml.datasets.avatars import avatars

        records, description = avatars(dataset)
    else:
        from heml.datasets.folder import folder

        records, description, extra = folder(dataset)
    count = write_images("data/images", records, description, extra)
    print(_summary(count, description))


def _summary(count: int, description: Description) -> str:
    skipped = f", {len(description.skipped)} skipped" if description.skipped else ""
    classes = f", {len(description.classes)} mask classes" if description.classes else ", no masks"
    return f"{count} images{skipped}, label {description.label!r} with {len(description.label_names)} values{classes}"


if __name__ == "__main__":
    with exit_on_error():
        main()
