import pathlib
import re

import keras
import numpy as np

import lsrs_tf

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _python_blocks():
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_every_flag_file_is_named():
    for path in (ROOT / "experiments" / "flags").iterdir():
        assert path.name in README


def test_own_encoder_works_as_shown():
    (block,) = [block for block in _python_blocks() if "encoder = keras.Sequential" in block]
    names = {"keras": keras, "lsrs_tf": lsrs_tf, "layers": lsrs_tf.layers, "models": lsrs_tf.models}
    exec(block, names)
    assert 1 <= lsrs_tf.lipschitz_bound(names["encoder"]) <= 1 + 1e-9
    image = np.random.default_rng(0).uniform(size=(1, 32, 32, 3))
    result = lsrs_tf.certify(names["model"], image, n=20, n0=5, verbose=0)
    assert result.labels.shape == (1,)


def test_code_is_python():
    for block in _python_blocks():
        compile(block, "README.md", "exec")
