from experiments.benchmarks import margins


def test_every_kind_of_certificate_is_timed():
    kinds = margins.functions(samples=100)
    assert list(kinds)[0] == "margin" and len(kinds) == 4
    assert kinds["margin"]().logits.shape == (10,)
    assert all(kinds[name]().samples == 200 for name in list(kinds)[1:])


def test_ratios_are_to_margins():
    text = margins.table({"margin": 0.002, "fixed": 20.0})
    assert "10,000" in text and "0.002" in text
