"""Random damage to real files: an error that says so, or nothing that matters has changed."""

import contextlib
import secrets
import time

import numpy as np
import pytest

from experiments import datasets
from experiments.certified_test_set import certify_test_images
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.records import reading
from lsrs_tf.records.journal import Journal

KINDS = {
    "fixed": {},
    "sequential": {"method": "sequential", "target_radii": [0.05, 0.1]},
    "tolerance": {"method": "sequential", "tolerance": 0.1},
}
_SECONDS = 2
_PIECES = [
    b"",
    b"\t",
    b"\n",
    b"\r",
    b'"',
    b"\0",
    b"\xff",
    b"-",
    b".",
    b",",
    b"e9",
    b"0",
    b"9",
    b"nan",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, model, data = tmp_path_factory.mktemp("h"), models.convnet(width=4), None
    for name, kind in KINDS.items():
        certifier = Certifier(model, n0=10, n=300, alpha=0.01, batch_size=64, **kind)
        data = data or datasets.load("digits")
        certify_test_images(certifier, model, data, folder / name, "2/4", list(range(8)))
    return {name: (folder / name).read_bytes() for name in KINDS}


def _damaged(content, rng):
    """Returns the content with a piece replaced, of random place and length."""
    start = int(rng.integers(len(content)))
    end = start + int(rng.integers(4))
    return content[:start] + _PIECES[rng.integers(len(_PIECES))] + content[end:]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_or_changes_no_certificate(files, kind, tmp_path):
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng, path, content = np.random.default_rng(seed), tmp_path / "file", files[kind]
    path.write_bytes(content)
    whole = {record.idx: record for record in reading.read(path)}
    settings = next(iter(whole.values())).settings
    end, refused = time.monotonic() + _SECONDS, 0
    while time.monotonic() < end:
        damaged = _damaged(content, rng)
        path.write_bytes(damaged)
        try:
            records = reading.read(path)
        except ValueError:
            refused += 1
        else:
            # A damaged index is another image; rows are none the fewer.
            assert len(records) == len(whole), damaged
            for record in records:
                if record.idx in whole:
                    before = whole[record.idx]
                    assert record.predict == before.predict, damaged
                    assert record.radius == pytest.approx(before.radius, abs=1.1e-6), damaged
        with contextlib.suppress(ValueError, FileExistsError), Journal(path, settings) as journal:
            assert len(journal.done) >= len(whole) - 1, damaged
            continue
        # What is not resumed is not touched.
        assert path.read_bytes() == damaged
    assert refused > 20
