import pytest
from absl import flags

from experiments.shared_flags import number_list
from tests.commands import run_code


@pytest.fixture
def given():
    def define(value):
        flags.DEFINE_list("numbers_of_this_test", value, "Numbers.")
        flags.FLAGS.mark_as_parsed()

    yield define
    del flags.FLAGS.numbers_of_this_test


def test_numbers_are_read(given):
    given(["0.25", "1e-3"])
    assert number_list("numbers_of_this_test") == [0.25, 1e-3]


def test_nothing_is_none(given):
    given(None)
    assert number_list("numbers_of_this_test") is None


def test_words_are_refused_by_the_name_of_the_flag(given):
    given(["0.25", "much"])
    with pytest.raises(ValueError, match="--numbers_of_this_test must be numbers.*0.25,much"):
        number_list("numbers_of_this_test")


WITHOUT_NOISE = """
import sys, types
from absl import flags
from experiments import shared_flags

flags.DEFINE_float("sigma", None, "As in a command.")
shared_flags.define_method()
shared_flags.define_data()
flags.FLAGS(["program", *sys.argv[2:]])
model = types.SimpleNamespace(sigma=float(sys.argv[1]))
print("method:", shared_flags.certification_settings_of(model)["method"])
"""


@pytest.mark.parametrize(
    ("trained", "given", "method", "said"),
    [
        ("0", [], "margin", ["--method=margin"]),
        ("0", ["--num_images=3"], "margin", ["--method=margin"]),
        # Whoever asks for something gets that, or an error.
        ("0", ["--method=fixed"], "fixed", []),
        ("0", ["--sigma=0.25"], "fixed", ["smoothed with --sigma=0.25: expect few certificates"]),
        ("0", ["--sigma=0"], "fixed", []),
        ("0.25", [], "fixed", []),
    ],
)
def test_runs_without_noise_are_certified_by_margins_and_that_is_said(trained, given, method, said):
    lines = run_code(WITHOUT_NOISE, trained, *given).stdout.splitlines()
    assert lines.pop() == f"method: {method}"
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))
