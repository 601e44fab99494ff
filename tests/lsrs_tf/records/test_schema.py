import numpy as np
import pytest

from lsrs_tf.records import schema

# All columns, in their order. A file has those of its method.
HEADER = (
    "idx label predict radius correct time data data_fingerprint replaced method target_radii "
    "tolerance sigma n0 n alpha against seed noise head_dtype shared_noise radius_loss lipschitz "
    "multiply_adds_per_image multiply_adds_per_sample model recertified_from_alpha "
    "recertified_from_against clean p_lower samples selection_counts counts "
    "logits rival margin pair_lipschitz image_fingerprint"
)


def test_columns_are_those_of_files_on_disk():
    assert [column.name for column in schema.COLUMNS] == HEADER.split()
    assert {"image_fingerprint", *schema.COSTS} == schema.LATER
    with pytest.raises(TypeError):
        schema.COLUMNS[0] = None
    # The fingerprint is the last one: of fixed length, so that a row that was cut off is noticed.
    votes = "clean p_lower samples selection_counts counts image_fingerprint"
    assert schema.results_of("fixed") == schema.results_of("sequential") == tuple(votes.split())
    margins = "clean logits rival margin pair_lipschitz image_fingerprint"
    assert schema.results_of("margin") == tuple(margins.split())


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("idx", 3, "3"),
        ("radius", 0.1234567, "0.123456"),
        ("correct", True, "1"),
        ("time", 1.5, "0:00:01.500000"),
        ("target_radii", (0.25, 0.5), "0.25,0.5"),
        ("tolerance", None, "-"),
        ("shared_noise", False, "0"),
        ("lipschitz", 1.0000000000001, "1.0000000000001"),
        ("p_lower", np.float64(1 / 3), "0.3333333333333333"),
        ("counts", np.array([3, 97]), "3,97"),
        ("note", "mine", "mine"),
    ],
)
def test_values_are_written_and_come_back(name, value, text):
    assert schema.written(name, value) == text
    # What is written already stays as it is.
    assert schema.written(name, text) == text
    back = schema.parsed(name, text)
    if name == "counts":
        assert back.tolist() == value.tolist()
    elif name == "radius":
        assert back == 0.123456
    else:
        assert back == value


def test_unknown_values_are_none():
    for text in ("", "-", "nan", "NaN"):
        assert schema.parsed("samples", text) is None
    with pytest.raises(ValueError, match="column idx must be a whole number"):
        schema.parsed("idx", "-")
    assert schema.default("method") == "fixed"
    assert schema.default("note") is None


def test_message_names_the_column():
    with pytest.raises(ValueError, match="column samples must be a whole number of at least 0"):
        schema.parsed("samples", "-3")
    for text in ("abc", "0123456789ABCDEF", "0123456789abcde"):
        with pytest.raises(ValueError, match="16 hexadecimal digits"):
            schema.parsed("image_fingerprint", text)
