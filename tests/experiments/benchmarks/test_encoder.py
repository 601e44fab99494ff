from experiments.benchmarks import encoder


def test_row_of_a_network_has_times_alone_and_together():
    name, *numbers = encoder.encoder_row("resnet18", 2, waiting=3, rounds=1)
    assert name == "resnet18, width 2"
    assert len(numbers) == 5 and all(float(number) >= 0 for number in numbers)
    assert float(numbers[2]) > 0 and float(numbers[3]) > 0
