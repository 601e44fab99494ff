import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from export.saved_model_file import read_signatures
from tests.export.conftest import SETTINGS

COMPILER = shutil.which("gcc") or shutil.which("clang")
SOURCE = pathlib.Path(__file__).with_name("certify_from_c.c")


@pytest.fixture(scope="module")
def run(version, tmp_path_factory):
    """A function of n that runs the program, which has no Python in its process."""
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    package = pathlib.Path(tf.__file__).parent
    program = tmp_path_factory.mktemp("c") / "certify_from_c"
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    subprocess.run(
        [
            *(COMPILER, str(SOURCE), "-o", str(program), f"-I{package / 'include'}"),
            *(f"-L{package}", f"-Wl,-rpath,{package}", *libraries),
        ],
        check=True,
    )
    signature = read_signatures(version)["certify_with"]
    names = [signature.inputs[name].name for name in ("images", "seed", "n", "alpha")]
    names += [signature.outputs[name].name for name in ("label", "radius", "votes")]

    def run(n):
        arguments = [str(program), str(version), "8", "8", "1", str(n), *names]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    return run


def test_certifies_without_python(run, model):
    ended = run(500)
    assert ended.returncode == 0, ended.stderr
    label, radius, *votes = ended.stdout.split()
    image = np.full((1, 8, 8, 1), 0.5, np.float32)
    expected = lsrs_tf.certify(model, image, seed=3, verbose=0, **SETTINGS)
    assert [int(count) for count in votes] == expected.counts[0].tolist()
    assert int(label) == expected.labels[0] >= 0
    assert expected.radii[0] * (1 - 1e-6) <= float(radius) <= expected.radii[0]


def test_wrong_shape_is_an_invalid_argument_in_the_graph(run):
    ended = run(-1)
    assert ended.returncode == 1
    # INVALID_ARGUMENT; no Python has looked at the shape.
    assert "code 3" in ended.stderr
    assert "shape" in ended.stderr.lower() and "[1,4,8,1]" in ended.stderr
