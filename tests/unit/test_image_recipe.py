"""The key of an image changes with its inputs and with nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from qhs.image import recipe
from qhs.tools import spec


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(recipe.FOLDER, tmp_path / "machine"))


def test_where_the_recipe_lies_does_not_matter(copy: Path) -> None:
    assert recipe.load(copy).key("x86_64") == recipe.load().key("x86_64")


def test_it_is_the_same_in_every_process(copy: Path) -> None:
    """With several tools built from source: Python orders a set of them otherwise in each."""
    programs = copy / "programs.yaml"
    programs.write_text(programs.read_text().replace("tools/kubernetes", "tools/engine", 1))
    assert len({tool for _, tool in recipe.load(copy).built}) > 1
    ask = "import sys, pathlib, qhs.image.recipe as it; print(it.load(pathlib.Path(sys.argv[1])).key('x86_64'))"
    seeds = [{**os.environ, "PYTHONHASHSEED": str(seed)} for seed in range(4)]
    said = {subprocess.check_output([sys.executable, "-c", ask, copy], env=one, text=True) for one in seeds}
    assert said == {f"{recipe.load(copy).key('x86_64')}\n"}


@pytest.mark.parametrize(
    "file", ["packages.yaml", "units.yaml", "programs.lock", "rootfs/etc/ssh/sshd_config.d/10-qhs.conf"]
)
def test_each_input_matters(copy: Path, file: str) -> None:
    path = copy / file
    added = {"packages.yaml": "extra: [hello]\n", "units.yaml": "  hello.service: a test\n"}.get(file, "# x\n")
    path.write_text(path.read_text() + added)
    assert recipe.load(copy).key("x86_64") != recipe.load().key("x86_64")


def test_what_metal_has_more_is_of_no_matter_to_the_golden_image(copy: Path) -> None:
    for file in ("metal/etc/fstab", "amd64.metal.lock"):
        (copy / file).write_text("x\n")
    assert recipe.load(copy).key("x86_64") == recipe.load().key("x86_64")
    assert recipe.metal(copy).key("x86_64") != recipe.metal().key("x86_64")


def test_where_the_recipe_of_metal_lies_does_not_matter(copy: Path) -> None:
    assert recipe.metal(copy).key("x86_64") == recipe.metal().key("x86_64") != recipe.load().key("x86_64")


@pytest.mark.parametrize("file", ["metal/etc/fstab", "amd64.lock", "amd64.metal.lock", "rootfs/etc/sudoers.d/10-qhs"])
def test_each_input_matters_to_metal(copy: Path, file: str) -> None:
    (copy / file).write_text("x\n")
    assert recipe.metal(copy).key("x86_64") != recipe.metal().key("x86_64")


def test_the_architecture_matters() -> None:
    assert recipe.load().key("aarch64") != recipe.load().key("x86_64")


def test_what_is_built_from_source_is_known_by_its_module() -> None:
    """The bill of materials names it, also where the program is a few lines of ours around it."""
    modules = {spec.load(tool).module for _, tool in recipe.load().built}
    around = {"github.com/coredns/coredns", "github.com/cloudnativelabs/kube-router/v2"}
    assert around | {"k8s.io/kubernetes", "sigs.k8s.io/metrics-server"} == modules


def test_every_masked_and_disabled_unit_has_its_reason() -> None:
    units = yaml.safe_load((recipe.FOLDER / "units.yaml").read_text())
    for unit, reason in (units["masked"] | units["disabled"]).items():
        assert reason, unit
