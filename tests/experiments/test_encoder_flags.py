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


def test_weights_go_into_a_network_of_another_precision(source):
    folder, trained = source
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.orthogonal_convnet(**SIZES, sigma=0.25, head_units=[4])
    finally:
        keras.config.set_dtype_policy(policy)
    with flagsaver.flagsaver(pretrained_encoder=str(folder)):
        prepare(model.encoder)
    assert _equal(model.encoder, trained.encoder)


def test_other_layers_are_refused_by_number_also_inside_of_residuals(source, tmp_path):
    folder, _ = source
    wider = models.orthogonal_convnet(**{**SIZES, "width": 4})
    with (
        flagsaver.flagsaver(pretrained_encoder=str(folder)),
        pytest.raises(ValueError, match=r"layer 3 is 'stage1_conv1' .*\(2,\).* and .*\(4,\)"),
    ):
        prepare(wider.encoder)
    deeper = models.orthogonal_convnet(**{**SIZES, "depth": 2})
    with (
        flagsaver.flagsaver(pretrained_encoder=str(folder)),
        pytest.raises(ValueError, match="only the head may differ"),
    ):
        prepare(deeper.encoder)
    compact = {"input_shape": (8, 8, 1), "width": 2, "residual": "convex", "downsampling": 2}
    models.compact_resnet(2, **compact).save(tmp_path / "model.keras")
    soc = models.compact_resnet(2, **compact, parametrization="soc")
    with (
        flagsaver.flagsaver(pretrained_encoder=str(tmp_path)),
        pytest.raises(ValueError, match="SkewOrthogonalConv2D"),
    ):
        prepare(soc.encoder)


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
    again = run_command(*second[:-1], cwd=tmp_path)
    assert "freeze_encoder: True before, False now" in again.stderr
