"""The hub adapter on miniatures of the three studies, through the real client: what is fetched, kept, drawn and
refused."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mini_hub import mini_hub, use_hub
from mini_sets import IMAGE, ROOT, Study, dataset_files, draw, label_mask, parquet, png, serve

from heml.datasets.card import load_card
from heml.datasets.hub import hub as open_hub
from heml.errors import HemlError
from heml.images.decoding import decode_mask
from heml.images.shards import read_description, read_rows, write_images
from heml.params import HubDataset

COMMIT = "a" * 40


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # cards are named as in the presets
    with mini_hub() as running:
        use_hub(running.endpoint, tmp_path / "cache", monkeypatch)
        yield running


def params(name: str, **changes) -> HubDataset:
    return HubDataset(**(Study(name).preset["dataset"] | changes))


def load(dataset: HubDataset):
    records, description, extra = open_hub(dataset)
    return list(records), description, extra


def test_celeba_keeps_its_splits_and_every_attribute(hub):
    study = Study("celeba")
    serve(hub, study, model=False)
    records, description, extra = load(params("celeba", limit={}))
    assert Counter(r.split for r in records) == {"train": 40, "val": 20, "test": 20}
    assert description.label_names == ["not Male", "Male"]
    assert [r.image_id for r in records] == sorted(r.image_id for r in records)
    assert len(extra) == 40
    files = dataset_files(study)
    name = "img_align+identity+attr/train-00001-of-00002.parquet"
    table = pq.read_table(pa.BufferReader(files[name]))
    own = [r for r in records if r.image_id.startswith("celeba_1_")]
    assert [r.image for r in own] == [cell["bytes"] for cell in table["image"].to_pylist()]
    assert [r.label for r in own] == [int(v) for v in table["Male"].to_pylist()]
    assert [r.extra["Smiling"] for r in own] == [
        "Smiling" if v else "not Smiling" for v in table["Smiling"].to_pylist()
    ]
    assert own[3].image_name == table["image"][3].as_py()["path"]


def test_any_attribute_can_be_the_label(hub):
    serve(hub, Study("celeba"), model=False)
    records, description, _ = load(params("celeba", label="Young", limit={}))
    assert description.label_names == ["not Young", "Young"]
    assert [description.label_names[r.label] for r in records] == [r.extra["Young"] for r in records]
    with pytest.raises(
        HemlError, match=r"dataset\.label: 'Age' is no label of data/celeba\.yaml, which has 5_o_Clock_Shadow"
    ):
        load(params("celeba", label="Age"))


def test_a_subset_is_drawn_by_seed_from_few_files(hub):
    serve(hub, Study("celeba"), model=False)
    limit = {"train": 12, "val": 6, "test": 6}
    drawn = [{r.image_id for r in load(params("celeba", limit=limit, seed=seed))[0]} for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({frozenset(d) for d in drawn}) == 4
    assert all(len(d) == 24 for d in drawn)
    train = {i.split("_")[1] for d in drawn for i in d} & {"0", "1"}
    assert train == {"0", "1"}  # over the seeds
    assert all(len({i[:8] for i in d if i[7] in "01"}) == 1 for d in drawn)  # each from one of the two files


def test_a_subset_fetches_only_what_it_needs(hub):
    serve(hub, Study("celeba"), model=False)
    load(params("celeba", limit={"train": 20, "val": 6, "test": 6}))
    assert len([n for n in set(hub.fetched(".parquet")) if n.startswith("train")]) == 1
    load(params("celeba", limit={"train": 21, "val": 6, "test": 6}))
    assert len([n for n in set(hub.fetched(".parquet")) if n.startswith("train")]) == 2


def test_human_parsing_reads_its_label_off_the_masks(hub):
    study = Study("human_parsing")
    serve(hub, study, model=False)
    records, description, _ = load(params("human_parsing"))
    assert description.label_names == ["no dress", "dress"]
    assert description.classes["Scarf"] == 17
    for r in records:
        assert r.label == int((decode_mask(r.mask, "") == 7).mean() >= 0.005)
    by_split = Counter((r.split, r.label) for r in records)
    assert by_split == {
        ("train", 0): 32,
        ("train", 1): 32,
        ("val", 0): 4,
        ("val", 1): 4,
        ("test", 0): 4,
        ("test", 1): 4,
    }


def test_the_area_of_a_rule_is_what_divides(hub):
    serve(hub, Study("human_parsing"), model=False)
    block = {float((decode_mask(r.mask, "") == 7).mean()) for r in load(params("human_parsing"))[0]} - {0.0}
    assert len(block) == 1
    with pytest.raises(HemlError, match=r"dataset\.rule: no image has Dress on 0\.0\d+ of its pixels \(least 0,"):
        everywhere = max(block) + 0.001
        load(params("human_parsing", rule={"classes": ["Dress"], "area": everywhere}))
    with pytest.raises(HemlError, match=r"dataset\.rule\.classes: unknown Gown; the masks have Background, Hat"):
        load(params("human_parsing", rule={"classes": ["Gown"]}))


def test_scene_parse_divides_its_validation_images_and_leaves_the_test_images(hub):
    serve(hub, Study("scene_parse"), model=False)
    records, description, _ = load(params("scene_parse"))
    assert Counter(r.split for r in records) == {"train": 40, "val": 20, "test": 20}
    assert {r.image_id[:13] for r in records if r.split == "train"} == {"scene_parse_0", "scene_parse_1"}
    assert description.label_names == ["no building", "building"]
    assert description.classes["other"] == 0
    assert not any("/test/" in path for _, path in hub.requests)


def test_records_survive_the_store(hub, tmp_path):
    serve(hub, Study("scene_parse"), model=False)
    records, description, extra = open_hub(params("scene_parse"))
    assert write_images(tmp_path / "images", records, description, extra) == 80
    assert read_description(tmp_path / "images") == description
    assert len(list(read_rows(tmp_path / "images", ["image_id"]))) == 80


def mine(tmp_path, **changes):
    """A card of one's own."""
    card = {
        "name": "mine",
        "title": "Mine",
        "licence": "mine",
        "files": [{"path": "*.parquet", "splits": ["train", "val", "test"]}],
    }
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card | {"labels": ["kind"]} | changes))
    return HubDataset(name="hub", path=tmp_path / "card.yaml", repo="me/mine", revision=COMMIT, label="kind")


def squares(n: int = 24, mask_value: int = 1) -> dict[str, list]:
    study, rng = Study("scene_parse"), np.random.default_rng(0)
    drawn = [draw(study, i % 2, rng) for i in range(n)]
    images = [{"bytes": png(pixels), "path": f"{i}.png"} for i, (pixels, _) in enumerate(drawn)]
    masks = [png((label_mask(m, study.card["classes"]) > 0).astype(np.uint8) * mask_value) for _, m in drawn]
    return {"image": images, "mask": [{"bytes": m, "path": None} for m in masks], "kind": [i % 3 for i in range(n)]}


FEATURES = {"image": IMAGE, "mask": IMAGE, "kind": {"dtype": "int64", "_type": "Value"}}
NAMED = FEATURES | {"kind": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}


@pytest.mark.parametrize(
    ("features", "kind", "names"),
    [
        (NAMED, [0, 1, 2] * 8, ["cat", "dog", "owl"]),
        (FEATURES, [10, 9, 8] * 8, ["8", "9", "10"]),
        (FEATURES | {"kind": {"dtype": "string", "_type": "Value"}}, ["zebra", "ant", "ant"] * 8, ["ant", "zebra"]),
    ],
)
def test_class_names_numbers_and_words_can_be_labels(hub, tmp_path, features, kind, names):
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": parquet(squares() | {"kind": kind}, features)})
    records, description, _ = load(mine(tmp_path))
    assert description.label_names == names
    said = [names[k] for k in kind] if features is NAMED else [str(k) for k in kind]
    assert [description.label_names[r.label] for r in records] == said == [r.extra["kind"] for r in records]


def test_columns_named_as_the_stores_own_are_read_and_not_kept_twice(hub, tmp_path):
    columns = squares() | {"label": [0, 1, 2] * 8, "split": ["x", "y"] * 12}
    features = FEATURES | {"label": NAMED["kind"], "split": {"dtype": "string", "_type": "Value"}}
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": parquet(columns, features)})
    dataset = HubDataset(**(mine(tmp_path, labels=["label", "split", "kind"]).model_dump() | {"label": "label"}))
    records, description, extra = open_hub(dataset)
    assert write_images(tmp_path / "images", records, description, extra) == 24
    rows = list(read_rows(tmp_path / "images", ["label", "split", "kind"]))
    assert [row["label"] for row in rows] == [0, 1, 2] * 8
    assert description.label_names == ["cat", "dog", "owl"]
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert extra == ["kind"]


def test_no_image_may_be_in_two_splits(hub, tmp_path):
    shard = parquet(squares(), FEATURES)
    hub.add("dataset", "me/mine", COMMIT, {"data/train-0.parquet": shard, "data/test-0.parquet": shard})
    files = [
        {"path": "data/*.parquet", "splits": ["train", "val"]},
        {"path": "data/test-*.parquet", "splits": ["test"]},
    ]
    with pytest.raises(
        HemlError, match=r"data/test-0\.parquet matches both 'data/\*\.parquet' and 'data/test-\*\.parquet'"
    ):
        load(mine(tmp_path, files=files))


def test_a_subset_keeps_the_labels_shares_and_its_number(hub, tmp_path):
    features = {name: FEATURES[name] for name in ("image", "kind")}
    kind = [0] * 60 + [1] * 30 + [2] * 10
    images = squares(4)["image"] * 25
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": parquet({"image": images, "kind": kind}, features)})
    files = [{"path": "*.parquet", "splits": ["train", "val", "test"]}]
    dataset = HubDataset(**(mine(tmp_path, files=files).model_dump() | {"limit": {"train": 31, "val": 10, "test": 20}}))
    records, _, _ = load(dataset)
    counts = Counter((r.split, r.label) for r in records)
    assert Counter(r.split for r in records) == {"train": 31, "val": 10, "test": 20}
    for split, n in (("train", 31), ("val", 10), ("test", 20)):
        for label, share in ((0, 0.6), (1, 0.3), (2, 0.1)):
            assert abs(counts[split, label] - n * share) < 1.5


def test_a_subset_by_label_has_labels_as_a_whole(hub, tmp_path):
    features = {name: FEATURES[name] for name in ("image", "kind")}
    kind = [k % 30 for k in range(180)]
    hub.add(
        "dataset",
        "me/mine",
        COMMIT,
        {"all.parquet": parquet({"image": squares(4)["image"] * 45, "kind": kind}, features)},
    )
    own = mine(tmp_path).model_dump() | {"split_by": "label", "limit": {"train": 50, "val": 12, "test": 12}}
    drawn = {}
    for seed in (0, 0, 1):
        records, _, _ = load(HubDataset(**(own | {"seed": seed})))
        assert Counter(r.split for r in records) == {"train": 50, "val": 12, "test": 12}
        assert len({(r.split, r.label) for r in records}) == len({r.label for r in records}) == 9 + 2 + 2
        counts = sorted(Counter(r.label for r in records).values())
        assert counts == [2] + [6] * 12
        drawn[seed] = [*drawn.get(seed, []), tuple(r.image_id for r in records)]
    assert drawn[0][0] == drawn[0][1] != drawn[1][0]
    with pytest.raises(HemlError, match=r"split 'val' has 1 label\(s\) with two or more images.*dataset\.limit"):
        load(HubDataset(**(own | {"limit": {"val": 6}})))


def test_files_sorted_by_label_are_told_from_a_set_with_one_label(hub, tmp_path):
    features = {name: FEATURES[name] for name in ("image", "kind")}
    images = squares(4)["image"] * 10
    hub.add(
        "dataset",
        "me/mine",
        COMMIT,
        {f"{k}.parquet": parquet({"image": images, "kind": [k] * 40}, features) for k in range(3)},
    )
    dataset = HubDataset(**(mine(tmp_path).model_dump() | {"limit": {"train": 12, "val": 3, "test": 5}}))
    with pytest.raises(HemlError, match=r"is constant .* This counts what dataset\.limit drew"):
        load(dataset)


def test_a_damaged_page_under_a_valid_hash_is_one_error(hub, tmp_path):
    shard = parquet(squares(), FEATURES)
    middle = len(shard) // 3
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": shard[:middle] + b"\xff" * 400 + shard[middle + 400 :]})
    with pytest.raises(HemlError, match=r"all\.parquet(: cannot be read|, row \d+: )"):
        write_images(tmp_path / "images", *open_hub(mine(tmp_path)))
    header = bytearray(shard)
    header[4:40] = b"\xff" * 36  # of the first page
    hub.add("dataset", "me/other", COMMIT, {"all.parquet": bytes(header)})
    with pytest.raises(HemlError, match=r"all\.parquet: cannot be read"):
        write_images(tmp_path / "images", *open_hub(HubDataset(**(mine(tmp_path).model_dump() | {"repo": "me/other"}))))
    assert not (tmp_path / "images").exists()


def test_names_beside_words_are_not_numbers(hub, tmp_path):
    """A column that says it has class names and holds words all the same."""
    shard = parquet(
        squares() | {"kind": ["a", "b"] * 12},
        FEATURES | {"kind": {"dtype": "string", "names": ["x"], "_type": "ClassLabel"}},
    )
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": shard})
    assert load(mine(tmp_path))[1].label_names == ["a", "b"]


def test_bytes_without_a_struct_will_do(hub, tmp_path):
    columns = squares()
    table = pa.table({"image": pa.array([c["bytes"] for c in columns["image"]], pa.binary()), "kind": columns["kind"]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": sink.getvalue().to_pybytes()})
    records, _, _ = load(mine(tmp_path))
    assert records[0].image == columns["image"][0]["bytes"]
    assert records[0].image_name == "mine_0_000000"


def test_a_network_can_say_the_label(hub, tmp_path):
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": parquet(squares(), FEATURES)})
    asked = []

    def areas(images):
        for image_id, image in images:
            asked.append(image.size)
            yield image_id, 0.3 if int(image_id[-2:]) % 2 else 0.1

    dataset = HubDataset(
        **(mine(tmp_path).model_dump() | {"rule": {"classes": ["x"], "area": 0.2, "model": "a/b", "revision": COMMIT}})
    )
    records, description, _ = open_hub(dataset, areas)
    assert [r.label for r in records] == [i % 2 for i in range(24)]
    assert description.label_names == ["no kind", "kind"]
    assert asked == [(48, 48)] * 24


def test_a_network_is_not_asked_about_images_that_a_subset_leaves_out(hub, tmp_path):
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": parquet(squares(60), FEATURES)})
    asked = []

    def areas(images):
        for image_id, _ in images:
            asked.append(image_id)
            yield image_id, int(image_id[-2:]) % 2

    rule = {"classes": ["x"], "area": 0.5, "model": "a/b", "revision": COMMIT}
    limit = {"train": 12, "val": 3, "test": 5}
    records, _, _ = open_hub(HubDataset(**(mine(tmp_path).model_dump() | {"rule": rule, "limit": limit})), areas)
    records = list(records)
    assert Counter(r.split for r in records) == limit
    assert {r.image_id for r in records} <= set(asked)
    assert len(asked) < 30


@pytest.mark.parametrize(
    ("columns", "features", "card", "said"),
    [
        (
            {"kind": None},
            FEATURES,
            {},
            r"all\.parquet: has no column 'kind', which .*card\.yaml names; its columns are image, mask",
        ),
        ({"image": None}, FEATURES, {}, "has no column 'image'"),
        (
            {"kind": [0, 1, 2, 7] * 6},
            NAMED,
            {},
            r"all\.parquet, row 3: kind is 7, out of range: the file names 3 classes, 0 to 2",
        ),
        ({"kind": [0, 1, 2, -1] * 6}, NAMED, {}, r"row 3: kind is -1, out of range"),
        ({"kind": [0, 1, 2, None] * 6}, FEATURES, {}, r"row 3: has no 'kind'"),
        ({"kind": [0] * 24}, FEATURES, {}, r"label 'kind' is constant \('0' for every image\)"),
        ({"kind": [0] * 23 + [1]}, FEATURES, {}, "class '1' of 'kind' has one image"),
        (
            {},
            FEATURES,
            {"mask": "mask", "classes": {"no": 0, "yes": 9}},
            r"row 0, mask: class ids \[1\] are not declared",
        ),
        ({"image": [{"bytes": None, "path": "elsewhere.jpg"}] * 24}, FEATURES, {}, "row 0: has no embedded image"),
        ({"image": [{"bytes": b"junk", "path": None}] * 24}, FEATURES, {}, r"all\.parquet, row 0: not a readable"),
        (
            {},
            FEATURES,
            {"files": [{"path": "x/*.parquet", "splits": ["train"]}]},
            r"no file matches 'x/\*\.parquet' of .*: all\.parquet",
        ),
        ({}, FEATURES, {"files": [{"path": "*.parquet", "splits": ["train"]}]}, "split 'val' has no images"),
    ],
)
def test_what_is_not_as_the_card_says_is_one_error_and_leaves_nothing(hub, tmp_path, columns, features, card, said):
    table = {name: values for name, values in (squares() | columns).items() if values is not None}
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": parquet(table, {name: features[name] for name in table})})
    with pytest.raises(HemlError, match=said):
        write_images(tmp_path / "images", *open_hub(mine(tmp_path, **card)))
    assert not (tmp_path / "images").exists()


def test_bad_images_can_be_left_out(hub, tmp_path):
    columns = squares()
    columns["image"][5] = {"bytes": b"junk", "path": None}
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": parquet(columns, FEATURES)})
    dataset = HubDataset(**(mine(tmp_path).model_dump() | {"on_bad_image": "skip"}))
    records, description, _ = load(dataset)
    assert len(records) == 23
    assert [s["image_id"] for s in description.skipped] == ["mine_0_000005"]


def test_a_file_that_is_no_parquet_is_named(hub, tmp_path):
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": b"PAR1 not really"})
    with pytest.raises(HemlError, match=r"all\.parquet: not a Parquet file"):
        load(mine(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": 1}, "colour: Extra inputs"),
        ({"mask": "mask"}, "mask and classes belong together"),
        ({"labels": ["kind", "kind"]}, "labels: a column is named twice"),
        ({"mask": "mask", "classes": {"a": 0, "b": 0}}, "classes: two classes share an id, 0"),
        (
            {"files": [{"path": "a", "splits": ["train", "val"]}, {"path": "b", "splits": ["val"]}]},
            "split 'val' is named twice",
        ),
        ({"files": [{"path": "a", "splits": ["dev"]}]}, "files.0.splits.0: Input should be 'train', 'val' or 'test'"),
    ],
)
def test_a_mistake_in_a_card_is_named(tmp_path, changes, said):
    dataset = mine(tmp_path, **changes)
    with pytest.raises(HemlError, match=said):
        load_card(dataset.path)
    with pytest.raises(HemlError, match=r"no such file; dataset\.path must name the card"):
        load_card(tmp_path / "none.yaml")


def test_only_the_row_groups_that_hold_chosen_images_are_read(hub, tmp_path, monkeypatch):
    read = []
    batches = pq.ParquetFile.iter_batches

    def watch(self, *arguments, **options):
        read.append(options["row_groups"])
        return batches(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watch)
    columns = squares(40)
    features = {name: FEATURES[name] for name in ("image", "kind")}
    shard = parquet({"image": columns["image"], "kind": [i % 2 for i in range(40)]}, features, rows_per_group=2)
    hub.add("dataset", "me/mine", COMMIT, {"all.parquet": shard})
    dataset = HubDataset(**(mine(tmp_path).model_dump() | {"limit": {"train": 6, "val": 2, "test": 2}}))
    records, _, _ = load(dataset)
    wanted = sorted({int(r.image_id[-6:]) // 2 for r in records})
    assert [groups for (groups,) in read] == wanted
    assert len(wanted) <= 10 < 20
