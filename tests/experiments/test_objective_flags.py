import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import objective_flags, train
from lsrs_tf import training


@pytest.fixture
def objective_of():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()

    def chosen(**given):
        with flagsaver.flagsaver(**{"sigma": 0.25, **given}):
            return objective_flags.objective_of_flags(100)

    return chosen


def test_default_is_that_of_keras(objective_of):
    assert objective_of() is None
    assert objective_of(sigma=0.0, loss="hinge") is None


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("consistency", {}, training.Consistency()),
        (
            "consistency",
            {
                "consistency_weight": 20.0,
                "consistency_entropy_weight": 0.0,
                "objective_noises": 3,
            },
            training.Consistency(20.0, 0.0, 3),
        ),
        ("smoothadv", {"smoothadv_radius": 0.5, "smoothadv_steps": 2}, training.SmoothAdv(0.5, 2)),
        (
            "macer",
            {"macer_weight": 6.0, "macer_margin": 4.0, "macer_inverse_temperature": 8.0},
            training.MACER(6.0, 4.0, 8.0),
        ),
        (
            "catrs",
            {"catrs_weight": 1.0, "catrs_radius": 0.5, "catrs_steps": 2},
            training.CATRS(1.0, 0.5, 2),
        ),
    ],
)
def test_numbers_reach_their_objective(objective_of, name, given, expected):
    objective = objective_of(objective=name, **given)
    assert type(objective) is type(expected)
    assert objective.get_config() == expected.get_config()


def test_radius_of_smoothadv_grows_in_the_warmup(objective_of):
    radius = objective_of(
        objective="smoothadv", smoothadv_radius=0.5, smoothadv_warmup_epochs=2
    ).radius
    for step, expected in [(0, 0.0), (100, 0.25), (200, 0.5), (900, 0.5)]:
        assert float(radius(step)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"consistency_weight": 10.0},
            "--consistency_weight does not belong to --objective=gaussian.* no number",
        ),
        (
            {"objective": "macer", "catrs_steps": 4},
            "--catrs_steps does not belong to --objective=macer, which takes --macer_weight, ",
        ),
        ({"objective": "macer", "loss": "hinge"}, "--objective=macer .* --loss=hinge"),
        ({"objective": "catrs", "sigma": 0.0}, "--objective=catrs .* --sigma=0 has no noise"),
        ({"objective": "consistency", "objective_noises": 0}, "`noises` of Consistency"),
        (
            {"objective": "smoothadv", "smoothadv_radius": -1.0, "smoothadv_warmup_epochs": 1},
            "`radius` of SmoothAdv",
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused(objective_of, given, message):
    with pytest.raises(ValueError, match=message):
        objective_of(**given)


def test_all_flags_are_settings_of_a_run():
    defined = flags.FLAGS.flags_by_module_dict()[objective_flags.__name__]
    found = {flag.name for flag in defined}
    assert found == {*objective_flags.NAMES}
    assert found < {*train.SETTINGS}
