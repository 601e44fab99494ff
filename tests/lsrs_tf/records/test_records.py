from lsrs_tf.records.schema import Record, is_correct


def _record(**extra):
    return Record(0, 1, 1, 0.5, True, 1.0, extra)


def test_values_are_those_of_the_schema():
    record = _record(n="100", counts="3,97", selection_counts="1,9", note="mine", tolerance="-")
    assert record.value("n") == 100
    assert record.value("tolerance") is None
    assert record.value("method") == "fixed"
    assert record.value("note") == "mine"
    assert [votes.tolist() for votes in record.votes] == [[1, 9], [3, 97]]
    assert record.settings == {"n": "100", "tolerance": "-"}


def test_votes_may_be_missing():
    assert _record(counts="3,97").votes is None
    assert not _record(counts="3,97").has_votes
    assert _record(counts="3,97", selection_counts="-").votes is None
    assert _record(counts="3,97", selection_counts="-").has_votes


def test_abstention_is_never_correct():
    assert is_correct(3, 3)
    assert not is_correct(3, 4)
    assert not is_correct(-1, -1)
