"""A segmenter folder says what is in it, and what is in it is what it says."""

import json
import subprocess

import pytest

from heml.errors import HemlError
from heml.segmentation.segment import check_sums, segmenter_classes, write_mask_segmenter

CLASSES = {"hair": 1, "hat": 2, "Rücken": 7}


@pytest.fixture
def folder(tmp_path):
    write_mask_segmenter(tmp_path / "segmenter", CLASSES)
    return tmp_path / "segmenter"


def test_coreutils_reads_the_sums(folder):
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
    assert segmenter_classes(folder) == (True, CLASSES)


def test_any_changed_byte_is_noticed(folder):
    path = folder / "config.json"
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        with pytest.raises(
            HemlError, match=r"config\.json: is not what .*SHA256SUMS says; remove .* and run `dvc repro segmenter`"
        ):
            segmenter_classes(folder)
    path.unlink()
    with pytest.raises(HemlError, match="no segmenter; run `dvc repro segmenter` first"):
        segmenter_classes(folder)


def test_a_file_that_is_listed_and_gone(folder):
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  model.safetensors\n")
    with pytest.raises(HemlError, match=r"model\.safetensors: is not what"):
        check_sums(folder)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"model_type": "x"}', '{"model_type": "x", "id2label": {"a": "b"}}', '{"id2label": 3}']
)
def test_a_configuration_that_is_none(tmp_path, content):
    """A folder of somebody else's has no such list; what is no configuration is an error all the same."""
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(HemlError, match=r"config\.json: is damaged"):
        segmenter_classes(tmp_path)


def test_two_classes_of_one_name(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "segformer", "id2label": {"0": "hair", "1": "hair"}})
    )
    with pytest.raises(HemlError, match="two classes of one name"):
        segmenter_classes(tmp_path)
