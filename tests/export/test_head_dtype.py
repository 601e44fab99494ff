import json

import numpy as np
import pytest
import tensorflow as tf

from export.model_card import read_model_card
from export.radius_tests import RadiusTests
from export.saved_model import export_saved_model
from export.signatures import Signatures
from export.version_changes import changes_from_version_before
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.sampling.random_streams import ESTIMATION, PREDICTION
from lsrs_tf.sampling.votes import votes_of
from tests.export.conftest import SETTINGS


def test_votes_of_all_signatures_are_those_of_the_cast_head(model, images):
    certifier = Certifier(model, **SETTINGS, head_dtype="bfloat16", jit_compile=False)
    signatures = Signatures(certifier, RadiusTests(certifier), predict_n=100, max_n=500)
    classifier = certifier.classifier
    rows = len(images)
    answer = signatures.certify_with(
        tf.constant(images),
        tf.fill([rows], tf.constant(4, tf.int64)),
        tf.fill([rows], 500),
        tf.fill([rows], tf.constant(0.01, tf.float64)),
    )
    own = Certifier(model, **SETTINGS, jit_compile=False).classifier
    different = False
    for row, image in enumerate(images):
        latent = classifier.encode(image)
        (votes,) = classifier.count(image, latent, [(ESTIMATION, 500)], 4)
        np.testing.assert_array_equal(answer["votes"][row], votes)
        (other,) = own.count(image, latent, [(ESTIMATION, 500)], 4)
        different |= not np.array_equal(votes, other)
        (predicted,) = signatures._count(
            tf.constant(image), tf.constant(4, tf.int64), [(PREDICTION, 100)]
        )
        (expected,) = classifier.count(image, latent, [(PREDICTION, 100)], 4)
        np.testing.assert_array_equal(predicted, expected)
        clean = signatures.predict_clean(tf.constant(image[np.newaxis]))
        logits = classifier.head(latent[tf.newaxis], training=False)
        np.testing.assert_array_equal(clean["logits"], logits)
        assert votes_of(logits).numpy()[0, clean["label"].numpy()[0]]
    assert different


@pytest.mark.slow
def test_export_is_checked_and_its_card_says_so(model, tmp_path):
    settings = {**SETTINGS, "n": 200, "predict_n": 100}
    (tmp_path / "1" / "assets.extra").mkdir(parents=True)
    version = export_saved_model(model, tmp_path, **settings, head_dtype="bfloat16")
    card = read_model_card(version)
    assert card["certificates"]["head_dtype"] == "bfloat16"
    assert "head dtype: bfloat16" in (version / "assets.extra" / "model_card.md").read_text()
    # Cards of earlier versions do not say it.
    del card["certificates"]["head_dtype"]
    (tmp_path / "1" / "assets.extra" / "model_card.json").write_text(json.dumps(card))
    assert changes_from_version_before(version) == ["head dtype own, now bfloat16"]


def test_margins_are_not_served_next_to_another_head(model, tmp_path):
    with pytest.raises(ValueError, match="margin=True, head_dtype='bfloat16'"):
        export_saved_model(model, tmp_path, **SETTINGS, margin=True, head_dtype="bfloat16")
    assert not list(tmp_path.iterdir())
