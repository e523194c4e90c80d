"""The documents name what there is: no name that does not run, none left out."""

import importlib.util
import re
import sys
from types import ModuleType

import yaml
from conftest import ROOT

import heml
from heml.baselines.build import new_baseline
from heml.explanation.metric_tree import MetricTree
from heml.explanation.pairs import Explanation
from heml.explanation.views import View
from heml.learning.networks import Architecture
from heml.params import EMBEDDERS, LOSSES, METHOD_KINDS, MINERS, TRUNKS, Bias, Evaluate, Metric, Segmenter, Train, parse_params


def script(name: str) -> ModuleType:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PAGES = script("reference").PAGES

PEERS = (ROOT / "docs" / "peers.md").read_text("utf-8")
METHODS = (ROOT / "docs" / "methods.md").read_text("utf-8")


def first_column(heading: str) -> list[str]:
    section = METHODS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_the_tables_are_those_of_the_parameters():
    assert first_column("Losses") == list(LOSSES)
    assert first_column("Miners") == list(MINERS)
    assert first_column("Trunks") == list(TRUNKS) or sorted(first_column("Trunks")) == sorted(TRUNKS)
    assert first_column("Embedders and feature augmentation") == list(EMBEDDERS)
    assert set(first_column("Optimisation")) <= set(Train.model_fields)


def test_options_and_their_defaults_are_those_of_the_parameters():
    section = METHODS.split("\n## Losses\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if not line.startswith("| `"):
            continue
        name, options = (part.strip() for part in line.split("|")[1:3])
        said = {key: float(value) for key, value in re.findall(r"(\w+) (\d+(?:\.\d+)?)", options)}
        assert said == LOSSES[name.strip("`")], name


def test_the_presets_are_whole_parameter_files():
    for path in [ROOT / "params.yaml", *(ROOT / "presets").glob("*.yaml")]:
        assert parse_params(path.read_text("utf-8"), path.name).tree
        assert yaml.safe_load(path.read_text("utf-8"))["report"]["title"]


def test_the_block_of_baselines_can_be_pasted_into_every_preset():
    block = PEERS.split("```yaml\n")[1].split("```")[0]
    for path in [ROOT / "params.yaml", *(ROOT / "presets").glob("*.yaml")]:
        lines = path.read_text("utf-8").splitlines()
        text = "\n".join(line for line in lines if not line.startswith("baselines:")) + "\n" + block
        params = parse_params(text, path.name)
        size = (max(params.canvas.height, 64), max(params.canvas.width, 64))  # as the text says
        for name, settings in params.baselines.items():
            train = params.baseline(name)
            assert train.epochs == 25
            network = new_baseline(settings, Architecture.of(train, 2), size)
            assert settings.method == "diml" or network.aim(train, 2).loss


def test_the_methods_and_their_defaults_are_those_of_the_parameters():
    rows = [line.split("|")[1:3] for line in PEERS.splitlines() if line.startswith("| `")]
    known = {kind.model_fields["method"].annotation.__args__[0]: kind for kind in METHOD_KINDS}
    assert [name.strip(" `") for name, _ in rows] == list(known)
    own = {"method", "background", *Train.model_fields}
    for name, options in rows:
        kind = known[name.strip(" `")]
        said = {key: float(value) for key, value in re.findall(r"(\w+) (\d+(?:\.\d+)?)", options)}
        defaults = {key: field.default for key, field in kind.model_fields.items() if key not in own}
        assert said == {key: value for key, value in defaults.items() if isinstance(value, (int, float))}
        assert all(key in options for key in defaults)


def test_the_reference_is_what_the_code_says():
    """Else: python docs/reference.py."""
    for name, made in PAGES.items():
        assert (ROOT / "docs" / "reference" / name).read_text("utf-8") == made(), f"{name}: run python docs/reference.py"


def test_every_key_is_in_the_reference_with_a_meaning():
    page = (ROOT / "docs" / "reference" / "parameters.md").read_text("utf-8")
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in page.splitlines() if line.startswith("| `")]
    told = {row[0] for row in rows if len(row) == 4 and row[3]}
    assert not {row[0] for row in rows if len(row) == 4} - told
    for heading, kind in {"train": Train, "segmenter": Segmenter, "evaluate": Evaluate, "metric": Metric, "bias": Bias}.items():
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        said = dict(re.findall(r"^\| `(\w+)` \|.*?\| (?:\[.*?\| )?([^|]*) \| [^|]*\|$", section, re.M))
        for key, field in kind.model_json_schema()["properties"].items():
            if "$ref" not in field and "allOf" not in field:
                assert yaml.safe_load(said[key].strip("`")) == field["default"], (heading, key)


def test_every_public_name_and_its_methods_are_in_the_reference():
    page = (ROOT / "docs" / "reference" / "python.md").read_text("utf-8")
    for name in heml.__all__:
        assert f"`heml.{name}`" in page
    for kind in (MetricTree, Explanation, View):
        names = [name for name in vars(kind) if not name.startswith("_")]
        assert names
        assert not [name for name in names if f"{kind.__name__}.{name}\n" not in page and f"| `{name}` |" not in page]
