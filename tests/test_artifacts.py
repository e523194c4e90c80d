"""Artifacts are checked when they are read: whatever happened to one is a clear error that names it, never a wrong
result."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from node_data import linked
from run_data import run_params
from safetensors import safe_open
from safetensors.torch import save_file

from heml.errors import HemlError
from heml.evaluation.embeddings import embed_node, read_all, write_embeddings
from heml.evaluation.tree_metric import read_metric
from heml.explanation.metric_tree import MetricTree
from heml.images.canvas import load_canvases
from heml.images.shards import ImageRecord, read_description, read_rows, write_images
from heml.learning.checkpoints import load_network
from heml.learning.inputs import compose
from heml.run import Run
from heml.segments.labelmaps import read_labelmaps, write_labelmaps
from heml.segments.manifest import read_manifest
from heml.tree import Tree

TREE = Tree.from_params(run_params())
LEFT = "data/segments/segment=left/part-0.parquet"
BOTH = "data/embeddings/node=both/part-0.parquet"
IMAGES = "data/images/part-00000.parquet"
INDEX = "data/canvases/index.parquet"
PIXELS = "data/canvases/canvases.npy"
NODE = "models/nodes/both.safetensors"
METRIC = "models/metric.json"
MAPS = "data/labelmaps/part-0.parquet"

READERS = {
    LEFT: lambda root: read_manifest(root / "data/segments", "left"),
    BOTH: lambda root: read_all(root / "data/embeddings", TREE),
    IMAGES: lambda root: (
        read_description(root / "data/images"),
        list(read_rows(root / "data/images", ["image_id", "split", "label", "image"])),
    ),
    INDEX: lambda root: load_canvases(root / "data/canvases"),
    PIXELS: lambda root: load_canvases(root / "data/canvases"),
    NODE: lambda root: load_network(root / NODE, torch.device("cpu")),
    METRIC: lambda root: read_metric(root / METRIC),
    MAPS: lambda root: list(read_labelmaps(root / "data/labelmaps")),
}
PARQUET = [path for path in READERS if path.endswith(".parquet")]


@pytest.fixture
def scratch(run, tmp_path):
    """A copy of the finished run, to be spoilt."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def refused(scratch, path, said=""):
    with pytest.raises(HemlError) as raised:
        READERS[path](scratch)
    assert path.rpartition("/")[2].partition(".")[0].split("-")[0] in str(raised.value)
    assert said in str(raised.value)
    return str(raised.value)


def rewrite(path, change):
    """A Parquet file with another table, its description kept."""
    table = pq.ParquetFile(path).read()
    about = pq.ParquetFile(path).metadata.metadata
    changed = change(table)
    pq.write_table(changed.replace_schema_metadata({**(changed.schema.metadata or {}), b"heml": about[b"heml"]}), path)


def without_checksums(text):
    """JSON as it was before it had any: what is read for what it says."""
    return json.dumps(
        {key: value for key, value in json.loads(text).items() if key not in ("crc32", "checksums")}, sort_keys=True
    )


def node_contents(path):
    """Metadata without checksums, and the tensors of a node."""
    with safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return {"heml": without_checksums(about["heml"])}, tensors


def column(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


def test_what_was_written_is_read(scratch):
    for read in READERS.values():
        read(scratch)


@pytest.mark.parametrize("path", READERS)
def test_gone_empty_halved_or_something_else(scratch, path):
    data = (scratch / path).read_bytes()
    for broken in (b"", data[: len(data) // 2], data.rstrip()[:-1], b"something else entirely", data[::-1]):
        (scratch / path).write_bytes(broken)
        refused(scratch, path)
    (scratch / path).unlink()
    assert "dvc repro" in refused_or_gone(scratch, path)


def refused_or_gone(scratch, path):
    with pytest.raises(HemlError) as raised:
        READERS[path](scratch)
    return str(raised.value)


@pytest.mark.parametrize("path", [*PARQUET, PIXELS, NODE, METRIC])
def test_a_flipped_byte_anywhere_is_noticed_or_harmless(scratch, path):
    """Pages, pixels, weights and headers carry checksums; a byte that no reader looks at, may pass with the same
    content."""
    data = (scratch / path).read_bytes()
    whole = READERS[path](scratch)
    noticed = 0
    for at in np.random.default_rng(0).integers(0, len(data), 40).tolist():
        (scratch / path).write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            found = READERS[path](scratch)
        except HemlError:
            noticed += 1
        else:
            assert same(found, whole), f"byte {at} of {path} changed the content silently"
    assert noticed > 10


def same(one, other):
    """Whether two results of a reader are equal in all that they hold."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.nn.Module):
        return same(one.state_dict(), other.state_dict())
    if isinstance(one, torch.Tensor):
        return torch.equal(one.nan_to_num(7), other.nan_to_num(7))
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    return one == other


@pytest.mark.parametrize("path", PARQUET)
def test_columns_gone_or_of_another_type_no_rows_no_description(scratch, path):
    original = (scratch / path).read_bytes()
    for change in (
        lambda t: t.drop_columns([t.column_names[0]]),
        lambda t: column(t, t.column_names[0], pa.array(range(t.num_rows), pa.int32())),
        lambda t: t.rename_columns(["x", *t.column_names[1:]]),
    ):
        rewrite(scratch / path, change)
        refused(scratch, path, "column")
        (scratch / path).write_bytes(original)
    if path != MAPS:
        rewrite(scratch / path, lambda t: t.slice(0, 0))
        refused_or_gone(scratch, path) if path != IMAGES else None
        (scratch / path).write_bytes(original)
    pq.write_table(pq.ParquetFile(scratch / path).read().replace_schema_metadata(None), scratch / path)
    refused(scratch, path)


@pytest.mark.parametrize("path", [LEFT, BOTH, INDEX])
def test_an_image_twice_or_rows_without_values(scratch, path):
    original = (scratch / path).read_bytes()
    rewrite(scratch / path, lambda t: column(t, "image_id", pa.array(["i000"] * t.num_rows)))
    refused(scratch, path, "holds an image twice")
    (scratch / path).write_bytes(original)
    rewrite(scratch / path, lambda t: column(t, "label", pa.array([None] + [0] * (t.num_rows - 1), pa.int64())))
    refused(scratch, path, "has a row without 'label'")


def test_rows_in_another_order_are_noticed_where_they_meet(scratch):
    def backwards(table):
        return table.take(list(range(table.num_rows))[::-1])

    for path in (LEFT, INDEX):
        original = (scratch / path).read_bytes()
        rewrite(scratch / path, backwards)
        with pytest.raises(HemlError, match="made from other images"):
            compose(["left"], Run(scratch))
        (scratch / path).write_bytes(original)
    rewrite(scratch / BOTH, backwards)
    refused_or_gone(scratch, BOTH)


def test_files_swapped_with_each_other(scratch):
    def swap(one, other):
        a, b = (scratch / one).read_bytes(), (scratch / other).read_bytes()
        (scratch / one).write_bytes(b)
        (scratch / other).write_bytes(a)

    for one, other in (
        (LEFT, LEFT.replace("left", "right")),
        (BOTH, BOTH.replace("both", "left")),
        (NODE, NODE.replace("both", "left")),
    ):
        swap(one, other)
        assert "holds the" in refused_or_gone(scratch, one)
        swap(one, other)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_and_weights_that_are_no_numbers(scratch, value):
    def spoil(table):
        vectors = table["embedding"].combine_chunks()
        flat = np.array(vectors.flatten())
        flat[3] = value
        return column(
            table,
            "embedding",
            pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.type.list_size, mask=vectors.is_null()),
        )

    rewrite(scratch / BOTH, spoil)
    refused(scratch, BOTH, "no finite numbers")
    about, tensors = node_contents(scratch / NODE)
    name = next(key for key, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].flatten()[0] = value
    save_file(tensors, scratch / NODE, metadata=about)
    refused(scratch, NODE, "no finite numbers")


def test_weights_and_headers_that_were_changed_by_hand(scratch):
    with safe_open(scratch / NODE, "pt") as file:
        about, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    name = next(key for key, tensor in tensors.items() if tensor.is_floating_point())
    save_file(tensors | {name: tensors[name] + 1e-3}, scratch / NODE, metadata=about)
    refused(scratch, NODE, "not those that were written")
    save_file(tensors, scratch / NODE, metadata={"heml": json.dumps(json.loads(about["heml"]) | {"seed": 1})})
    refused(scratch, NODE, "its checksum is another")


def test_weights_that_do_not_fit_and_a_description_that_does_not(scratch):
    about, tensors = node_contents(scratch / NODE)
    name = next(iter(tensors))
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, scratch / NODE, metadata=about)
    refused(scratch, NODE, "do not fit its header")
    save_file(tensors, scratch / NODE, metadata={"heml": json.dumps(json.loads(about["heml"]) | {"box": None})})
    refused(scratch, NODE, "not a node of this project")


def test_canvases_of_another_shape_or_type(scratch):
    pixels = np.load(scratch / PIXELS)
    for other in (pixels.astype(np.float32), pixels[:-1], pixels[..., 0], pixels[::-1].copy()):
        np.save(scratch / PIXELS, other)
        refused(scratch, PIXELS, "not the pixels that index.parquet belongs to")


@pytest.mark.parametrize("change", [{"terms": {}}, {"terms": 3}, {"format": 0}, {"extra": 1}])
def test_a_metric_that_is_none(scratch, change):
    found = json.loads(without_checksums((scratch / METRIC).read_text())) | change
    (scratch / METRIC).write_text(json.dumps(found))
    refused(scratch, METRIC, "not a tree's metric")


def test_a_metric_with_a_wild_number(scratch):
    found = json.loads(without_checksums((scratch / METRIC).read_text()))
    found["terms"]["both"]["slope"] = float("nan")
    (scratch / METRIC).write_text(json.dumps(found))
    refused(scratch, METRIC, "values that are no numbers")


def test_a_map_with_classes_that_it_does_not_name(scratch):
    maps = list(read_labelmaps(scratch / "data/labelmaps"))
    write_labelmaps(scratch / "data/labelmaps", maps, {"background": 0, "left": 1})
    refused(scratch, MAPS, "classes that it does not name")


def test_a_shard_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("heml.images.shards.ROWS_PER_SHARD", 4)
    records = [ImageRecord(f"{k}", "train", k % 2, b"x", "x.png") for k in range(10)]
    from heml.images.shards import Description

    for gone, said in (
        (0, "a shard before it is missing"),
        (1, "a shard before it is missing"),
        (2, "not the last of the shards"),
    ):
        write_images(tmp_path / "images", records, Description("t", "kind", ["a", "b"]))
        (tmp_path / "images" / f"part-0000{gone}.parquet").unlink()
        with pytest.raises(HemlError, match=said):
            read_description(tmp_path / "images")


def test_a_node_on_other_children_or_segments_is_refused_by_whoever_uses_it(scratch):
    run = Run(scratch)
    left = run.node("left")
    about, tensors = node_contents(left)
    name = next(key for key, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name] = tensors[name] + 1
    save_file(tensors, left, metadata=about)
    said = r"both\.safetensors: was trained on another node 'left' than .*left\.safetensors"
    with pytest.raises(HemlError, match=said):
        MetricTree.load(scratch / "models", scratch / "data")
    with pytest.raises(HemlError, match=said):
        write_embeddings(TREE, run)
    other = embed_node("left", ["left"], run)
    assert other.weights != read_all(run.embeddings, TREE)["left"].weights
    mend(run)
    again = linked(run, scratch / "again")
    write_embeddings(Tree([TREE["left"], TREE["right"], TREE["both"]]), again)
    shutil.copytree(again.embeddings / "node=left", run.embeddings / "node=left", dirs_exist_ok=True)
    with pytest.raises(HemlError, match="'both' was trained on another 'left' than the one that is embedded"):
        read_all(run.embeddings, TREE)


def mend(run):
    """The spoilt node gets a parent whose lineage says that it is right."""
    from heml.sealed import fingerprint

    metadata, tensors = node_contents(run.node("both"))
    about = json.loads(metadata["heml"])
    about["lineage"]["node=left"] = fingerprint(run.node("left"))
    save_file(tensors, run.node("both"), metadata={"heml": json.dumps(about, sort_keys=True)})


def test_a_segment_that_was_cut_anew_is_noticed(scratch):
    path = scratch / LEFT
    rewrite(path, lambda t: column(t, "area", pa.array(np.asarray(t["area"]) * np.float32(0.9))))
    with pytest.raises(HemlError, match=r"left\.safetensors: was trained on another segment 'left'"):
        write_embeddings(TREE, Run(scratch))


def test_pandas_opens_what_is_written(scratch):
    assert len(pd.read_parquet(scratch / "data/segments")) == 96
    assert Run(scratch).node("both").is_file()
