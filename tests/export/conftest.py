import pathlib
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from export import checking
from export.radius_tests import RadiusTests
from export.saved_model import export_margin_model, export_saved_model
from export.signatures import Signatures
from lsrs_tf import layers, models
from lsrs_tf.certification.certifier import Certifier

ABOUT = {"dataset": "digits", "class_names": ["a", "b", "c"], "measured": {"images": 5}}
COMPILER = shutil.which("gcc") or shutil.which("clang")
SETTINGS = {"n0": 20, "n": 500, "alpha": 0.01}


def margin_model(parametrization="cayley"):
    """Returns a model without noise, whose head has bounds."""
    keras.utils.set_random_seed(1)
    convolution = layers.convolution(parametrization)
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), convolution(4, 3, strides=2), layers.GroupSort(2)]
    )
    head = keras.Sequential(
        [
            keras.Input(encoder.output_shape[1:]),
            convolution(16, 3),
            layers.GroupSort(2),
            keras.layers.Flatten(),
            layers.OrthogonalDense(32),
            layers.GroupSort(2),
            keras.layers.Dense(3, name="logits"),
        ]
    )
    return models.LatentSmoothingModel(encoder, head, 0.0)


@pytest.fixture(scope="session")
def base_model():
    return margin_model()


@pytest.fixture(scope="session")
def base_version(base_model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("served") / "margins"
    return export_margin_model(base_model, directory, resize="area", about=ABOUT)


@pytest.fixture(scope="session")
def model():
    keras.utils.set_random_seed(0)
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    logits = model.head.layers[-1]
    # Clear votes for one class, that certify radii around 0.4.
    logits.set_weights([logits.get_weights()[0], np.array([0.3, 0, 0], np.float32)])
    return model


@pytest.fixture(scope="session")
def dense_model():
    """A model whose head is one dense layer."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.OrthogonalConv2D(2, 3)])
    logits = keras.layers.Dense(3)
    head = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Flatten(), logits])
    logits.bias.assign([1.0, 0.0, 0.0])
    return models.LatentSmoothingModel(encoder, head, 0.25)


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="session")
def certifier(model):
    return Certifier(model, **SETTINGS, jit_compile=False)


@pytest.fixture(scope="session")
def signatures(model, certifier):
    radius_tests = RadiusTests(certifier, [0.1])
    return Signatures(certifier, radius_tests, predict_n=200, max_n=1_000)


@pytest.fixture(scope="session")
def version(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("served") / "digits"
    # It must not reach the noise that is served.
    tf.random.set_seed(0)
    return export_saved_model(
        model, directory, **SETTINGS, predict_n=200, max_n=1_000_000, radii=[0.1], about=ABOUT
    )


@pytest.fixture(scope="session")
def full_export(model, tmp_path_factory):
    """(version with margins and for XLA, how often the server's process was started for it, and how
    often the function that certifies was traced)."""
    with pytest.MonkeyPatch.context() as patch:
        started = _counted(patch, checking, "ask")
        traced = _counted(patch, Signatures, "certify")
        directory = tmp_path_factory.mktemp("served") / "digits"
        version = export_saved_model(model, directory, **SETTINGS, margin=True, xla=True)
    return version, len(started), len(traced)


def _counted(patch, owner, name):
    """Returns a list that gets an item with every call of a function."""
    calls, function = [], getattr(owner, name)
    patch.setattr(owner, name, lambda *args: calls.append(name) or function(*args))
    return calls


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """A function that compiles a program of this folder, without Python in it, to a path."""
    if COMPILER is None:
        pytest.skip("there is no C compiler")

    def compiled(name):
        source = pathlib.Path(__file__).with_name(f"{name}.c")
        package = pathlib.Path(tf.__file__).parent
        program = tmp_path_factory.mktemp("c") / name
        libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
        # TensorFlow is a gigabyte, which the usual linker takes four times as long to read.
        linker = ["-fuse-ld=gold"] if shutil.which("ld.gold") else []
        subprocess.run(
            [
                *(COMPILER, str(source), "-o", str(program), f"-I{package / 'include'}"),
                *(f"-L{package}", f"-Wl,-rpath,{package}", *linker, *libraries),
            ],
            check=True,
        )
        return program

    return compiled
