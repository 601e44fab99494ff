from experiments.benchmarks import margins


def test_every_kind_of_certificate_is_timed():
    kinds = margins.functions(samples=100)
    assert len(kinds) == 7
    for name, certify in kinds.items():
        certificate = certify()
        if name.endswith("margin"):
            assert certificate.logits.shape == (10,)
        else:
            assert certificate.samples == 200


def test_ratios_are_to_margins():
    text = margins.table({"a, margin": 0.002, "a, fixed": 20.0, "b, margin": 2.0})
    assert "10,000" in text and "0.002" in text
