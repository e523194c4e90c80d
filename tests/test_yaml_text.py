"""YAML is one dialect everywhere, DVC's."""

import pytest
from dvc.utils.serialize import parse_yaml as dvcs

from heml.errors import HemlError
from heml.yaml_text import parse_yaml

TEXT = "words: [no, off, yes]\nnumbers: [1e-3, 010, 1_0]\nnone: [~, null]\ndate: 2024-01-01\n"


def test_it_reads_what_dvc_reads():
    assert parse_yaml(TEXT, "x.yaml") == dvcs(TEXT, "x.yaml")
    assert parse_yaml(TEXT, "x.yaml")["words"] == ["no", "off", "yes"]


def test_a_doubled_key_is_named_with_its_line():
    with pytest.raises(HemlError, match=r"^x\.yaml: line 2: key 'a' stands twice; remove or rename one$"):
        parse_yaml("a: 1\na: 2\n", "x.yaml")


def test_what_is_no_yaml_is_said():
    with pytest.raises(HemlError, match=r"^x\.yaml: not valid YAML"):
        parse_yaml("a: [", "x.yaml")
