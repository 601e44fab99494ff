import keras
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import loss_flags
from lsrs_tf import losses


@pytest.fixture
def loss_of():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()

    def chosen(**given):
        with flagsaver.flagsaver(**given):
            return loss_flags.loss_of_flags(100)

    return chosen


def test_default_is_the_crossentropy_of_keras(loss_of):
    loss = loss_of()
    assert type(loss) is keras.losses.SparseCategoricalCrossentropy
    assert loss.get_config()["from_logits"]


def test_numbers_reach_their_loss(loss_of):
    loss = loss_of(loss="offset_crossentropy", loss_offset=0.4)
    assert (loss.offset, loss.temperature) == (0.4, 0.25)
    loss = loss_of(loss="offset_crossentropy", loss_offset=0.4, loss_temperature=1.0)
    assert loss.temperature == 1.0
    loss = loss_of(loss="lipschitz_margin", loss_radius=0.1)
    assert type(loss) is losses.LipschitzMarginCrossentropy
    assert (loss.radius, loss.lipschitz, loss.pairwise) == (0.1, 1.0, True)
    loss = loss_of(
        loss="certificate_regularized", loss_gamma=0.5, loss_lipschitz=2.0, loss_pairwise=False
    )
    assert (loss.gamma, loss.lipschitz, loss.pairwise) == (0.5, 2.0, False)
    assert loss_of(loss="hinge", loss_margin=0.2).margin == 0.2
    loss = loss_of(loss="smoothed_crossentropy", loss_smoothing=0.1)
    assert loss.smoothing == 0.1


def test_radius_of_emma_grows_in_the_first_half(loss_of):
    loss = loss_of(loss="emma", loss_radius=0.1)
    for step, radius in [(0, 0.01), (25, 0.155), (50, 0.3), (100, 0.3)]:
        assert float(loss.radius(step)) == pytest.approx(radius, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss_offset": 0.1}, "--loss_offset does not belong to --loss=crossentropy.* no number"),
        (
            {"loss": "hinge", "loss_margin": 1.0, "loss_pairwise": False},
            "--loss_pairwise does not belong to --loss=hinge, which takes --loss_margin",
        ),
        ({"loss": "emma"}, "--loss=emma needs --loss_radius"),
        ({"loss": "hinge", "loss_margin": -1.0}, "`margin` of MarginHinge"),
        ({"loss": "emma", "loss_radius": -1.0}, "`radius` of EMMA"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(loss_of, given, message):
    with pytest.raises(ValueError, match=message):
        loss_of(**given)


def test_all_flags_are_settings_of_a_run():
    assert set(loss_flags.NAMES) == {
        "loss",
        "loss_smoothing",
        "loss_offset",
        "loss_temperature",
        "loss_radius",
        "loss_lipschitz",
        "loss_pairwise",
        "loss_margin",
        "loss_gamma",
    }
