"""What is put off is imported when it is asked for, and stages import what they use and no more."""

import subprocess
import sys

import pytest
from conftest import ROOT

HEAVY = (
    "torch",
    "pandas",
    "sklearn",
    "scipy.stats._stats_py",
    "matplotlib",
    "transformers",
    "torch._dynamo",
    "huggingface_hub",
)


def python(code: str) -> str:
    """What a fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_deferred_package_gives_its_parts_at_once_and_itself_when_asked():
    told = python(
        "import sys\n"
        "from heml.imports import defer\n"
        "defer('torchvision', 'torchvision.models', 'torchvision.ops')\n"
        "from torchvision.models.resnet import resnet18\n"
        "print('torchvision.ops.roi_align' in sys.modules, 'torchvision.datasets' in sys.modules)\n"
        "import torchvision\n"
        "print(torchvision.datasets.__name__, torchvision.models.resnet18 is resnet18, type(torchvision).__name__)\n"
        "from torchvision.ops import StochasticDepth, nms\n"
        "print(StochasticDepth.__module__, hasattr(torchvision, 'nonsense'))\n"
    )
    assert told.splitlines() == [
        "False False",
        "torchvision.datasets True module",
        "torchvision.ops.stochastic_depth False",
    ]


def test_a_deferred_module_that_is_imported_already_or_not_to_be_had_changes_nothing():
    assert (
        python(
            "import json\nfrom heml.imports import defer\ndefer('json', 'no_such_module',"
            " 'no_such_module.part')\nprint(json.dumps(1))"
        )
        == "1"
    )


def test_statistics_work_after_they_were_deferred():
    told = (
        "import heml.learning.training\nfrom scipy.stats import spearmanr\nprint(spearmanr([1, 2, 3], [1, 2,"
        " 3]).statistic)"
    )
    assert float(python(told)) == pytest.approx(1)


def test_an_optimiser_steps_without_the_compiler_to_the_same_weights_and_the_compiler_works_afterwards():
    code = (
        "import sys, torch\n"
        "from contextlib import nullcontext\n"
        "from heml.imports import no_compiler\n"
        "def step(context):\n"
        "    torch.manual_seed(0)\n"
        "    layer = torch.nn.Linear(3, 2)\n"
        "    with context:\n"
        "        optimizer = torch.optim.AdamW(layer.parameters(), fused=True)\n"
        "        for _ in range(3):\n"
        "            optimizer.zero_grad()\n"
        "            layer(torch.ones(4, 3)).square().sum().backward()\n"
        "            optimizer.step()\n"
        "    return layer.weight.detach()\n"
        "without = step(no_compiler())\n"
        "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)\n"
        "print(torch.equal(without, step(nullcontext())))\n"
        "compiled = torch.compile(lambda x: x + 1, backend='eager')\n"
        "print(compiled(torch.ones(1)).item(), 'torch._dynamo' in sys.modules)\n"
    )
    assert python(code).splitlines() == ["False False", "True", "2.0 True"]


@pytest.mark.parametrize("stage", ["download", "canvases", "segmenter", "segment", "manifest"])
def test_stages_that_need_no_network_do_not_import_one(stage):
    assert python(f"import sys, stages.{stage}\nprint([m for m in {HEAVY} if m in sys.modules])") == "[]"


@pytest.mark.parametrize("stage", ["train", "baseline", "student", "compare", "embed", "weigh", "audit", "duplicates"])
def test_stages_check_names_before_they_import_torch(stage):
    assert python(f"import sys, stages.{stage}\nprint([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_training_imports_torch_and_none_of_the_other_heavy_ones():
    code = f"import sys, heml.learning.node\nprint([m for m in {HEAVY} if m in sys.modules])"
    assert python(code) == "['torch']"
