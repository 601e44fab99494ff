import importlib
import sys

import pytest


def test_what_needs_beam_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "lsrs_tf.beam", raising=False)
    with pytest.raises(ImportError, match='needs Apache Beam.*pip install -e "..beam."'):
        importlib.import_module("lsrs_tf.beam")
