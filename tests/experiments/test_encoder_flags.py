import keras
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import checkpoints, encoder_flags
from experiments.encoder_flags import prepare
from lsrs_tf import models, training
from tests.commands import run_command

IMAGES = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype(np.float32)
LABELS = np.arange(16) % 3
SIZES = {"width": 2, "depth": 1, "num_classes": 3, "input_shape": (8, 8, 1)}


@pytest.fixture(autouse=True)
def _parsed():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Returns the folder of a run, and its model."""
    folder = tmp_path_factory.mktemp("source")
    keras.utils.set_random_seed(3)
    model = models.orthogonal_convnet(**SIZES)
    model.save(folder / "model.keras")
    return folder, model


def _fitted(model):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IMAGES, LABELS, verbose=0)
    return model


def _equal(first, second):
    return all(
        np.array_equal(one, other)
        for one, other in zip(first.get_weights(), second.get_weights(), strict=True)
    )


def test_encoder_begins_with_the_weights_of_a_run_and_the_head_anew(source):
    folder, trained = source
    model = models.orthogonal_convnet(**SIZES, sigma=0.25, head_units=[4])
    before = [weight.copy() for weight in model.head.get_weights()]
    for path in (folder, folder / "model.keras"):
        with flagsaver.flagsaver(pretrained_encoder=str(path)):
            prepare(model.encoder)
        assert _equal(model.encoder, trained.encoder)
        np.testing.assert_array_equal(
            model.encoder(IMAGES), trained.encoder(IMAGES), err_msg="the same latents"
        )
    for one, other in zip(before, model.head.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not _equal(_fitted(model).encoder, trained.encoder)


@pytest.mark.parametrize("objective", [None, "consistency"])
def test_frozen_encoder_stays_also_when_a_training_goes_on(source, tmp_path, objective):
    folder, trained = source
    model = models.orthogonal_convnet(**SIZES, sigma=0.25, head_units=[4])
    with flagsaver.flagsaver(pretrained_encoder=str(folder), freeze_encoder=True):
        prepare(model.encoder)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    chosen = None
    if objective:
        chosen = training.Consistency()
    model.compile("sgd", loss, objective=chosen)
    model.fit(IMAGES, LABELS, verbose=0)
    model.save(tmp_path / "checkpoint.keras")
    resumed = checkpoints.load_model(tmp_path / "checkpoint.keras")
    head = [weight.copy() for weight in resumed.head.get_weights()]
    resumed.fit(IMAGES, LABELS, verbose=0)
    assert _equal(resumed.encoder, trained.encoder)
    assert any(
        not np.array_equal(one, other)
        for one, other in zip(head, resumed.head.get_weights(), strict=True)
    )


def _compact(**arguments):
    sizes = {"input_shape": (8, 8, 1), "width": 2, "downsampling": 2, "head": "dense"}
    return models.compact_resnet(2, **sizes, residual="convex", **arguments)


def _fars(**arguments):
    return models.fars_tiny(input_shape=(8, 8, 1), width=4, depth=1, dense_depth=1, **arguments)


def _resnet(**arguments):
    return models.resnet18(orthogonal_layers=7, width=2, input_shape=(16, 16, 1), **arguments)


@pytest.mark.parametrize("network", [_compact, _fars, _resnet])
def test_encoders_of_a_file_go_into_their_network_also_frozen_or_of_another_precision(
    network, tmp_path
):
    trained = network(sigma=0.0)
    trained.encoder.trainable = False
    trained.save(tmp_path / "model.keras")
    policy = keras.config.dtype_policy()
    # Names that Keras makes up differ, too.
    keras.layers.Dense(1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network(sigma=0.25)
    finally:
        keras.config.set_dtype_policy(policy)
    assert not _equal(model.encoder, trained.encoder)
    with flagsaver.flagsaver(pretrained_encoder=str(tmp_path)):
        prepare(model.encoder)
    assert _equal(model.encoder, trained.encoder)
    assert model.encoder.trainable_weights


def test_other_layers_are_refused_by_what_differs_also_inside_of_residuals(source, tmp_path):
    folder, _ = source
    wider = models.orthogonal_convnet(**{**SIZES, "width": 4})
    with (
        flagsaver.flagsaver(pretrained_encoder=str(folder)),
        pytest.raises(ValueError, match=r"layer 3 has weights=\[.*\(2,\)\] there .*\(4,\)\] here"),
    ):
        prepare(wider.encoder)
    deeper = models.orthogonal_convnet(**{**SIZES, "depth": 2})
    with (
        flagsaver.flagsaver(pretrained_encoder=str(folder)),
        pytest.raises(ValueError, match="only the head may differ"),
    ):
        prepare(deeper.encoder)
    # The same weights are another map in images of another size.
    larger = models.orthogonal_convnet(**{**SIZES, "input_shape": (16, 16, 1)})
    with (
        flagsaver.flagsaver(pretrained_encoder=str(folder)),
        pytest.raises(ValueError, match="layer 1 has batch_shape="),
    ):
        prepare(larger.encoder)
    _compact().save(tmp_path / "model.keras")
    with (
        flagsaver.flagsaver(pretrained_encoder=str(tmp_path)),
        pytest.raises(ValueError, match="layer 4 has .* there and .* here"),
    ):
        prepare(_compact(parametrization="soc").encoder)


def test_flags_of_the_other_run_are_told(source, tmp_path):
    _, model = source
    model.save(tmp_path / "model.keras")
    (tmp_path / "settings.json").write_text('{"width": 2, "depth": 1, "sigma": 0.5}')
    wider = models.orthogonal_convnet(**{**SIZES, "width": 4})
    with (
        flagsaver.flagsaver(pretrained_encoder=str(tmp_path), width=4, depth=1),
        pytest.raises(
            ValueError, match=r"head may differ\. Its run has other settings: width 2\.$"
        ),
    ):
        prepare(wider.encoder)


def test_file_that_is_no_model_is_left_alone(tmp_path):
    (tmp_path / "model.keras").write_text("not a model")
    model = models.orthogonal_convnet(**SIZES)
    with (
        flagsaver.flagsaver(pretrained_encoder=str(tmp_path)),
        pytest.raises(ValueError, match="pretrained_encoder=.*cannot be read") as raised,
    ):
        prepare(model.encoder)
    assert "Remove" not in str(raised.value)


def test_nothing_to_begin_with_or_to_freeze_is_an_error(source):
    folder, _ = source
    identity = models.convnet(orthogonal_layers=0, input_shape=(8, 8, 1)).encoder
    for given in ({"freeze_encoder": True}, {"pretrained_encoder": str(folder)}):
        with flagsaver.flagsaver(**given), pytest.raises(ValueError, match="has none in its"):
            prepare(identity)


def test_missing_model_is_named():
    with (
        flagsaver.flagsaver(pretrained_encoder="nowhere"),
        pytest.raises(FileNotFoundError, match="pretrained_encoder=nowhere"),
    ):
        encoder_flags.source_of_flags()


def test_command_trains_a_head_on_the_encoder_of_another_run(tmp_path):
    common = [
        *("--dataset=digits", "--model=orthogonal_convnet", "--width=2", "--depth=1"),
        *("--epochs=1", "--steps_per_epoch=2"),
    ]
    first = run_command(
        "experiments.train",
        *common,
        *("--sigma=0", "--loss=offset_crossentropy", "--loss_offset=1", "--output_dir=first"),
        cwd=tmp_path,
    )
    assert first.returncode == 0, first.stderr
    second = [
        "experiments.train",
        *common,
        *("--sigma=0.25", "--head_units=4", "--output_dir=second"),
        *("--pretrained_encoder=first", "--freeze_encoder"),
    ]
    ended = run_command(*second, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "begins with the weights of first/model.keras" in ended.stdout
    trained = [
        checkpoints.load_model(tmp_path / name / "model.keras") for name in ("first", "second")
    ]
    assert _equal(trained[0].encoder, trained[1].encoder)
    other_spelling = [*second[:-2], "--pretrained_encoder=first/", "--freeze_encoder"]
    again = run_command(*other_spelling, cwd=tmp_path)
    assert "is trained already" in again.stdout
    thawed = run_command(*second[:-1], cwd=tmp_path)
    assert "freeze_encoder: True before, False now" in thawed.stderr
