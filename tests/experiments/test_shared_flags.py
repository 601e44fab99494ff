import pytest
from absl import flags

from experiments.shared_flags import number_list


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
