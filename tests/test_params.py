"""A mistake in params.yaml is an error that names the key and what is allowed."""

import pytest
import yaml
from conftest import ROOT

from heml.errors import HemlError
from heml.learning.objectives import objective
from heml.losses import catalogue
from heml.params import EMBEDDERS, LEVELS, load_params, parse_params


def test_the_committed_file_and_every_preset_are_valid():
    for path in [ROOT / "params.yaml", *(ROOT / "presets").glob("*.yaml")]:
        params = load_params(path)
        for k in range(LEVELS):
            for name in getattr(params.tree, f"level_{k}"):
                params.node(name)


@pytest.mark.parametrize(
    ("preset", "loss", "miner", "margin"),
    [
        ("celeba", "snr", "all", 0.1),
        ("human_parsing", "snr", "all", 0.1),
        ("scene_parse", "multi_similarity", "multi_similarity", None),
    ],
)
def test_the_studies_have_the_papers_best_loss(preset, loss, miner, margin):
    """Table I; every node can be trained by it."""
    params = load_params(ROOT / "presets" / f"{preset}.yaml")
    nodes = [name for level in params.tree.levels() for name in level]
    assert {params.node(name).loss for name in nodes} == {loss}
    assert params.train.options.get("margin") == margin
    assert params.train.miner is None
    assert catalogue()[loss].miners[0] == miner
    assert objective(params.train, 2).distance == {"snr": "snr", "multi_similarity": "cosine"}[loss]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("train.epoch", 3, ["train.epoch", "unknown key", "epochs"]),
        ("train.margin", -1, ["train.margin", "greater than or equal to 0", "-1"]),
        ("train.loss", "tripplet", ["train.loss", "triplet_margin", "snr", "tripplet"]),
        ("train.batch_size", 30, ["train", "batch_size (30)", "per_class (8)"]),
        ("train.lr", float("nan"), ["train.lr", "finite"]),
        ("dataset.bais", 0.9, ["dataset.bais", "unknown key", "bias"]),
        ("dataset.bias", 0.2, ["dataset.bias", "0.5"]),
        ("dataset.name", "coco", ["dataset", "avatars", "folder"]),
        ("dataset.split", {"train": 0.5, "val": 0.1, "test": 0.1}, ["dataset.split", "must be 1", "0.7"]),
        ("segments.hair.dilat", 1, ["segments.hair.dilat", "unknown key", "dilate"]),
        ("segments.ha/ir", {"classes": ["hair"]}, ["segments.ha/ir", "pattern"]),
        ("segmenter.source", "pretrained", ["segmenter", "needs `model`"]),
        ("train.miner", "semi", ["train.miner", "semihard", "batch_hard"]),
        ("train.trunk", "resnet19", ["train.trunk", "resnet18", "convnext_tiny"]),
        ("train.loss_options", {"alpha": 1}, ["loss_options", "'snr' has no 'alpha'", "regularizer"]),
        ("train.embedder_options", {"learners": 4}, ["embedder_options", "'plain' has no 'learners'", "none"]),
        ("train.distance", "hamming", ["train.distance", "snr|euclidean|cosine"]),
        ("students", {"small": {"teacher": "nobody"}}, ["students.small.teacher", "'nobody'", "portrait"]),
        ("segments.hair.mirror", "hat", ["segments.hair.mirror", "'hat' must be a segment"]),
        ("tree.level_0.hair.epoch", 1, ["tree.level_0.hair.epoch", "unknown key", "epochs"]),
        ("tree.level_0.hair.trunk", "resnet50", ["tree.level_0.hair.trunk", "unknown key"]),
        ("tree.level_1.jaw", {"left": "mouth"}, ["tree.level_1.jaw.right", "missing"]),
        ("tree.level_9", {}, ["tree.level_9", "unknown key"]),
        ("canvas.height", 4, ["canvas.height", "16"]),
    ],
)
def test_a_mistake_is_named(params_dict, parse, path, value, said):
    section = params_dict
    *parents, last = path.split(".")
    for key in parents:
        section = section[key]
    section[last] = value
    with pytest.raises(HemlError) as error:
        parse(params_dict)
    for part in said:
        assert part in str(error.value)


def test_a_rules_network_options_need_a_network(params_dict, parse):
    params_dict["dataset"] = {
        "name": "folder",
        "path": "x",
        "label": "l",
        "rule": {"classes": ["hat"], "revision": "a" * 40},
    }
    with pytest.raises(HemlError, match=r"dataset\.(folder\.)?rule.*revision: of a `model`, which is not named"):
        parse(params_dict)


def test_a_missing_section_a_doubled_key_and_broken_yaml(params_dict, parse):
    del params_dict["canvas"]
    with pytest.raises(HemlError, match="canvas: missing"):
        parse(params_dict)
    with pytest.raises(HemlError, match=r"line 3: key 'hair' stands twice"):
        parse_params("segments:\n  hair: {classes: [a]}\n  hair: {classes: [b]}\n")
    with pytest.raises(HemlError, match="not valid YAML"):
        parse_params("a: [1,")
    with pytest.raises(HemlError, match="presets"):
        load_params("no_such_file.yaml")


def test_a_node_overrides_train_and_is_checked_as_a_whole(params_dict, parse):
    params_dict["tree"]["level_0"]["hair"] = {"epochs": 9, "lr": 0.5}
    params = parse(params_dict)
    assert params.node("hair").epochs == 9
    assert params.node("hair").margin == params.train.margin
    assert params.node("eyes").epochs == params.train.epochs
    params_dict["tree"]["level_0"]["hair"] = {"batch_size": 12}
    with pytest.raises(HemlError, match=r"tree\.level_0\.hair.*batch_size \(12\)"):
        parse(params_dict).node("hair")


def test_epochs_shrink_up_the_tree_but_for_nodes_with_their_own(params_dict, parse):
    params_dict["train"] |= {"epochs": 8, "epochs_decay": 0.5}
    params_dict["tree"]["level_2"]["upper_face"]["epochs"] = 7
    params_dict["tree"]["level_3"]["portrait"].pop("epochs", None)
    params = parse(params_dict)
    assert [params.node(n).epochs for n in ("hair", "jaw", "upper_face", "portrait")] == [8, 4, 7, 1]


def test_a_node_with_another_loss_does_not_inherit_the_options_of_trains(params_dict, parse):
    params_dict["train"]["loss_options"] = {"regularizer": 0.3}
    params_dict["tree"]["level_0"]["hair"] = {"loss": "ntxent", "miner": "none"}
    params = parse(params_dict)
    assert params.node("hair").options == {"temperature": 0.07}
    assert params.node("jaw").options["regularizer"] == 0.3


def test_a_node_with_another_loss_takes_that_losss_miner_and_null_means_the_default():
    text = (
        (ROOT / "params.yaml")
        .read_text("utf-8")
        .replace("eyes: {}, glasses: {}", "eyes: {loss: ntxent}, glasses: {miner: null}")
    )
    params = parse_params(text)
    assert params.train.miner == "semihard"
    assert (params.node("hair").miner, params.node("hair").margin) == ("semihard", 0.1)
    assert (params.node("eyes").miner, params.node("eyes").margin) == (None, None)
    assert (params.node("glasses").miner, params.node("glasses").margin) == (None, 0.1)


def test_an_embedders_options_are_its_own_and_shared_by_the_tree(params_dict, parse):
    params_dict["train"] |= {"embedder": "horde", "embedder_options": {"dims": 512}}
    params_dict["baselines"] = {"alone": {"method": "traditional"}, "avsl": {"method": "avsl"}}
    params = parse(params_dict)
    assert params.node("hair").of_embedder == {"orders": 5, "dims": 512}
    assert params.baseline("alone").of_embedder == {"orders": 5, "dims": 512}
    assert (params.baseline("avsl").embedder, params.baseline("avsl").embedder_options) == ("plain", {})
    params_dict["train"]["embedder_options"] = {"dims": 0}
    with pytest.raises(HemlError, match=r"train: .*embedder_options: dims must be above 0"):
        parse(params_dict)
    params_dict["train"]["embedder_options"] = {"dims": 512}
    params_dict["tree"]["level_0"]["hair"] = {"embedder_options": {"dims": 64}}
    with pytest.raises(HemlError, match=r"tree\.level_0\.hair\.embedder_options: unknown key"):
        parse(params_dict)


def test_the_documents_name_every_option_of_an_embedder_and_its_default():
    section = (
        (ROOT / "docs" / "methods.md").read_text("utf-8").split("\n## Options of an embedder\n")[1].split("\n## ")[0]
    )
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:4]] for line in section.splitlines() if line.startswith("| `")
    ]
    said = {(embedder, option): float(default) for option, embedder, default in rows}
    assert said == {
        (embedder, option): value for embedder, options in EMBEDDERS.items() for option, value in options.items()
    }


def test_new_labels_are_found_among_themselves(params_dict, parse):
    params_dict["dataset"]["split_by"] = "label"
    with pytest.raises(HemlError, match=r"evaluate\.search: must be `within` with dataset\.split_by: label"):
        parse(params_dict)
    params_dict["evaluate"]["search"] = "within"
    assert parse(params_dict).dataset.split_by == "label"


def test_a_part_that_is_switched_off_must_be_a_node(params_dict, parse):
    params_dict["metric"] = {"off": ["hat"]}
    with pytest.raises(HemlError, match=r"metric\.off: 'hat' is no node of the tree; it has hair"):
        parse(params_dict)


def test_yaml_is_read_as_dvc_reads_it(params_dict):
    text = yaml.safe_dump(params_dict).replace("lr: 0.001", "lr: 1e-3") + "\n"
    assert parse_params(text.replace("weights: learned", "off: [glasses]")).metric.off == ["glasses"]
    assert parse_params(text).train.lr == 0.001
