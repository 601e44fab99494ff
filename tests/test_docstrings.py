"""The examples of docstrings: they give what they show, and everything public has one."""

import doctest
import functools
import importlib
import inspect
import pathlib

import keras
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import callbacks, evaluation, layers, lipschitz, models
from lsrs_tf.statistics import confidence, radius_scale, sample_plans, sequential

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("lsrs_tf", "export")
    for path in (ROOT / folder).rglob("*.py")
    if ">>>" in path.read_text()
)
PUBLIC = {
    f"{package.__name__}.{name}": getattr(package, name)
    for package in (lsrs_tf, evaluation, layers, lipschitz, models)
    for name in package.__all__
}
PUBLIC |= {
    f"{module.__name__}.{name}": entry
    for module in (callbacks, confidence, radius_scale, sample_plans, sequential)
    for name, entry in vars(module).items()
    if getattr(entry, "__module__", None) == module.__name__ and not name.startswith("_")
}


@functools.cache
def _shared_names():
    """Returns what examples use without making it: a small untrained model, and images of it."""
    keras.utils.set_random_seed(0)
    return {
        "model": models.convnet(width=2, num_classes=3),
        "images": np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32"),
        "labels": np.array([0, 1, 2, 0]),
    }


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    module = importlib.import_module(name)
    # What an example needs is named as users would import it.
    imported = {
        "evaluation": evaluation,
        "keras": keras,
        "layers": layers,
        "LayerBound": lipschitz.LayerBound,
        "lsrs_tf": lsrs_tf,
        "models": models,
        "np": np,
    }
    names = {**_shared_names(), **imported, **vars(module)}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    "name",
    [name for name in PUBLIC if inspect.isroutine(PUBLIC[name]) or inspect.isclass(PUBLIC[name])],
)
def test_everything_public_has_an_example(name):
    assert ">>>" in PUBLIC[name].__doc__


def test_examples_are_a_section_of_their_own():
    for module in MODULES:
        # As "Example:" the site shows them as quotations.
        assert "    Example:\n" not in (ROOT / (module.replace(".", "/") + ".py")).read_text()
