import subprocess
import sys

import pytest

from lsrs_tf import evaluation


def test_everything_public_is_named_by_the_package():
    for name in evaluation.__all__:
        assert callable(getattr(evaluation, name)), name
    with pytest.raises(AttributeError, match="plot_nothing"):
        _ = evaluation.plot_nothing


def test_only_plots_need_matplotlib():
    # As if it was not installed: Keras imports it where it is.
    program = "import sys; sys.modules['matplotlib'] = None; import lsrs_tf.evaluation"
    subprocess.run([sys.executable, "-c", program], check=True)
