import pytest

from experiments.benchmarks import cost
from experiments.benchmarks.cost import Machine, Rates, file_rows, parsed_machines, plan_hours
from tests.certification_files import file

RATES = Rates(encoder=1e6, head=1e9)


def test_seconds_are_those_of_the_encoder_once_and_the_head_for_every_sample():
    assert RATES.seconds(2_000_000, 500_000, 1_000) == pytest.approx(2.0 + 0.5)


def test_hours_are_those_of_all_images():
    found = [("some", 7_200, "LS-RS", 1_000_000, 1_000_000)]
    machines = [RATES, Rates(encoder=1e6, head=2e9)]
    # A second for the encoder and one for the samples, 7,200 times.
    hours = plan_hours(found, {"fixed": 1_000}, machines)
    assert hours == {("some", "LS-RS", "fixed"): [4.0, 3.0]}


def test_tables_divide_hours_between_workers_and_multiply_them_by_prices():
    hours, machines = {("some", "LS-RS", "fixed"): [4.0, 3.0]}, {"GPU": Machine(2e9, price=2.5)}
    assert "| 4 | 1 | 3 |" in " ".join(cost.hours_table(hours, machines, workers=4).split())
    assert "| - | 7.5 |" in " ".join(cost.price_table(hours, machines, price=None).split())


def test_files_are_compared_with_the_model(tmp_path):
    columns = [
        "replaced",
        "sigma",
        "multiply_adds_per_image",
        "multiply_adds_per_sample",
        "samples",
    ]
    rows = [(idx, 1, 1, 0.5, 2.5, ["1/2", "0.25", "2000000", "500000", "1000"]) for idx in range(3)]
    file(tmp_path / "certified.tsv", columns, rows)
    ((_, predicted, found, ratio),) = file_rows([tmp_path / "certified.tsv"], RATES)
    assert (predicted, found, ratio) == ("2.5", "2.5", "1.00")


def test_files_without_costs_are_refused(tmp_path):
    file(tmp_path / "certified.tsv", ["replaced"], [(0, 1, 1, 0.5, 1.0, ["1/2"])])
    with pytest.raises(ValueError, match="does not tell multiply-adds"):
        file_rows([tmp_path / "certified.tsv"], RATES)


def test_machines_are_names_and_rates():
    found = parsed_machines(["my GPU:1e13", "a:b:2@.5"])
    assert found == {"my GPU": Machine(1e13), "a:b": Machine(2.0, price=0.5)}
    for entry in ("1e13", "x:", "x:-1", "x:nan", "x:inf", ":3", "x:fast", "x:1@", "x:1@-1"):
        with pytest.raises(ValueError, match="--machines takes names"):
            parsed_machines([entry])
