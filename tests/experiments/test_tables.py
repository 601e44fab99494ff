import csv
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import cell_plans, cell_runs, datasets, shared_flags, tables, train
from experiments.paper_tables import TABLES
from experiments.run_directory import RunDirectory
from lsrs_tf.certification.settings import Settings
from lsrs_tf.records import schema
from tests.certification_files import file
from tests.commands import run_command

FLAGS = flags.FLAGS
SMALL = ["--table=1", "--dataset=digits", "--width=2", "--epochs=3", "--num_images=3"]


def _parsed(arguments):
    FLAGS.unparse_flags()
    assert FLAGS(["program", *arguments]) == ["program"]


def _run(directory, *arguments, base=SMALL):
    with flagsaver.flagsaver():
        _parsed([*base, f"--runs_dir={directory}", *arguments])
        tables.main(["tables"])


def _plans(number, *arguments):
    with flagsaver.flagsaver():
        _parsed(arguments)
        cell_plans.set_defaults(TABLES[number])
        return cell_plans.plans(TABLES[number], "runs")


class _Trainings:
    """What `experiments.train` leaves, without training: certificates of three digits."""

    def __init__(self):
        self.made = []
        self.before = lambda directory: None
        self.rows = 3
        # Those of a process of its own.
        self._defaults = flagsaver.save_flag_values(FLAGS)

    def __call__(self, arguments):
        with flagsaver.flagsaver():
            flagsaver.restore_flag_values(self._defaults, FLAGS)
            _parsed(arguments)
            run = RunDirectory(FLAGS.output_dir)
            self.made.append(run.path.name)
            status = self.before(run)
            if status:
                return status
            run.claim({name: FLAGS[name].value for name in train.SETTINGS}, train.DEFAULTS)
            run.model.touch()
            columns = Settings(**shared_flags.certification_settings()).columns()
            columns["data_fingerprint"] = datasets.load(FLAGS.dataset).fingerprint()
            columns["clean"] = 1
            if FLAGS.sigma:
                columns["sigma"] = FLAGS.sigma
            texts = [schema.written(name, value) for name, value in columns.items()]
            rows = [(0, 1, 1, 0.25, 2.0), (120, 1, 1, 0.5, 4.0), (240, 2, -1, 0.0, 3.0)]
            file(run.certified, list(columns), [(*row, texts) for row in rows[: self.rows]])
        return 0


@pytest.fixture
def trainings(monkeypatch):
    made = _Trainings()
    monkeypatch.setattr(cell_runs, "run_training", made)
    return made


def _table(directory, number=1):
    with (directory / f"table{number}.csv").open(newline="") as rows:
        return list(csv.DictReader(rows))


@pytest.mark.parametrize(
    ("number", "cell", "name"),
    [(1, 6, "cifar_ls"), (1, 2, "cifar_is"), (2, 14, "cifar_ls"), (3, 6, "imagenet_ls")],
)
def test_full_size_is_that_of_the_flag_files(number, cell, name):
    plan = _plans(number)[cell - 1]
    packaged = pathlib.Path(tables.__file__).parent / "flags" / f"{name}.flags"
    with flagsaver.flagsaver():
        _parsed([f"--flagfile={packaged}"])
        assert plan.settings == {key: FLAGS[key].value for key in train.SETTINGS}
        images = FLAGS.num_images
    assert (f"--num_images={images}" in plan.arguments) == (images is not None)


@pytest.mark.parametrize("number", TABLES)
def test_commands_train_what_the_plans_say(number):
    given = ["--epochs=6", "--objective=consistency", "--consistency_weight=5", "--alpha=0.01"]
    given += ["--target_radii=0.25,0.5", "--parametrization=soc", "--download", "--num_images=7"]
    plans = _plans(number, *given)
    assert len({plan.directory for plan in plans}) == len(plans) == len(TABLES[number].cells)
    for plan in plans:
        with flagsaver.flagsaver():
            _parsed(plan.arguments)
            assert {key: FLAGS[key].value for key in train.SETTINGS} == plan.settings
            settings = Settings(**shared_flags.certification_settings())
            assert plan.columns == {
                key: schema.written(key, value) for key, value in settings.columns().items()
            }
            # Without noise there are neither samples nor votes to train for.
            noisy = plan.cell.sigma > 0
            assert settings.method == ("sequential" if noisy else "margin")
            assert (FLAGS.objective == "consistency") == noisy
            assert FLAGS.certify and FLAGS.download and FLAGS.num_images == 7


def test_certificates_are_sequential_unless_flags_say_otherwise():
    for given, expected in (
        ([], ("sequential", "0.02", "-")),
        (["--tolerance=0.1"], ("sequential", "0.1", "-")),
        (["--target_radii=0.5"], ("sequential", "-", "0.5")),
        (["--method=fixed"], ("fixed", "-", "-")),
        (["--method=fixed", "--n=500"], ("fixed", "-", "-")),
    ):
        columns = _plans(1, *given)[1].columns
        assert tuple(columns[name] for name in ("method", "tolerance", "target_radii")) == expected


def test_tables_share_the_runs_of_networks_they_have_in_common():
    first, second = ({plan.directory for plan in _plans(number)} for number in (1, 2))
    assert first < second


def test_grid_is_made_once_and_shown_next_to_the_paper(tmp_path, trainings, capsys):
    _run(tmp_path)
    assert len(trainings.made) == 8
    rows = _table(tmp_path)
    assert [row["ACR (paper)"] for row in rows] == [
        "0.000", "0.472", "0.564", "0.532", "0.000", "0.444", "0.533", "0.524",
    ]  # fmt: skip
    noisy = rows[5]
    assert (noisy["defense"], noisy["sigma"], noisy["replaced"]) == ("LS-RS", "0.25", "9/18")
    assert (noisy["ACR"], noisy["accuracy (%)"], noisy["time (s/example)"]) == (
        "0.250", "66.66", "3.000",
    )  # fmt: skip
    assert noisy["setting"] == (
        "dataset digits, width 2, epochs 3, seed 0; 3 images, n 100000, alpha 0.001, within 0.02"
    )
    # Without noise the accuracy is that of the base classifier, certified or not.
    assert (rows[4]["accuracy (%)"], rows[4]["time (s/example)"]) == ("66.66", "-")
    assert rows[4]["setting"].endswith("; 3 images, certain, no samples")
    shown = capsys.readouterr().out
    assert (tmp_path / "table1.md").read_text() in shown
    assert re.search(r"Cell 3, IS-RS 0/18, sigma 0.50 \(6 to do, about 0:00:\d\d\), in ", shown)
    folders = shown.splitlines()[-1].removeprefix("Next: python -m experiments.report ")
    assert len(shlex.split(folders)) == 8
    _run(tmp_path)
    assert len(trainings.made) == 8
    # Table 2 has the networks of table 1 and twelve others.
    _run(tmp_path, base=["--table=2", *SMALL[1:]])
    assert len(trainings.made) == 20 and len(_table(tmp_path, 2)) == 20


def test_interrupted_grid_goes_on(tmp_path, trainings):
    def interrupt(run):
        if len(trainings.made) == 3:
            raise KeyboardInterrupt

    trainings.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path)
    _run(tmp_path)
    assert trainings.made[2] == trainings.made[3]
    assert len(trainings.made) == 9


def test_interrupt_of_a_training_alone_stops_the_grid(tmp_path, trainings):
    trainings.before = lambda run: 130
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path)
    assert len(trainings.made) == 1


def test_grid_goes_on_after_a_cell_that_fails(tmp_path, trainings, capsys):
    trainings.before = lambda run: 1 if "9of18_sigma0.50" in run.path.name else 0
    with pytest.raises(ValueError, match="1 cells failed: 7. What went wrong is above"):
        _run(tmp_path)
    assert len(trainings.made) == 8
    assert [row["ACR"] for row in _table(tmp_path)].index("-") == 6
    assert "Failed: cell 7, LS-RS 9/18, sigma 0.50" in capsys.readouterr().err
    trainings.before = lambda run: 0
    _run(tmp_path)
    assert trainings.made[8:] == ["digits_resnet18_9of18_sigma0.50"]


def test_cells_of_several_machines_are_copied_together(tmp_path, trainings, capsys):
    for machine in range(1, 9):
        _run(tmp_path / f"machine{machine % 2}", f"--cell={machine}")
    assert len(trainings.made) == 8
    assert "Not in the table yet: cells 1, 3, 5, 7." in capsys.readouterr().out
    for machine in range(2):
        shutil.copytree(tmp_path / f"machine{machine}", tmp_path / "all", dirs_exist_ok=True)
    # Models are large, and the table needs none.
    for path in (tmp_path / "all").glob("*/model.keras"):
        path.unlink()
    _run(tmp_path / "all")
    assert len(trainings.made) == 8
    assert "-" not in [row["ACR"] for row in _table(tmp_path / "all")]


@pytest.mark.parametrize("cell", [0, -1, 9, 10**20])
def test_cell_that_does_not_exist_is_named_with_those_that_do(tmp_path, trainings, cell):
    with pytest.raises(ValueError, match=f"has the cells 1 to 8.*--cell={cell}"):
        _run(tmp_path, f"--cell={cell}")
    assert not list(tmp_path.iterdir())


def test_cells_of_other_settings_are_shown_and_not_merged(tmp_path, trainings, capsys):
    _run(tmp_path, "--cell=6")
    _run(tmp_path, "--cell=2")
    _run(tmp_path / "other", "--cell=7", "--epochs=4", "--weight_decay=0.1")
    shutil.copytree(tmp_path / "other", tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "table1.csv").read_bytes(), (tmp_path / "table1.md").read_bytes()
    with pytest.raises(ValueError) as error:
        _run(tmp_path)
    assert (
        "nothing was trained:\n  cell 7, LS-RS 9/18, sigma 0.50: epochs: 4 before, 3 now; "
        "weight_decay: 0.1 before, 0.0 now\nGive the flags" in str(error.value)
    )
    assert len(trainings.made) == 3
    assert "made with other settings, see below" in capsys.readouterr().out
    # A table of the settings that the cells have is not lost.
    assert before == (
        (tmp_path / "table1.csv").read_bytes(),
        (tmp_path / "table1.md").read_bytes(),
    )
    # Also where another cell is asked for.
    with pytest.raises(ValueError, match="cell 7, LS-RS"):
        _run(tmp_path, "--cell=1")
    assert len(trainings.made) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--n=500"], "n: 100000 before, 500 now"),
        (["--tolerance=0.5"], "tolerance: 0.02 before, 0.5 now"),
        (["--method=fixed"], "method: sequential before, fixed now; tolerance: 0.02 before, - now"),
        (["--num_images=2"], "2 certified images .such as 120. are not among the 2 of now"),
        (["--seed=5"], "seed: 0 before, 5 now"),
        (["--head_dtype=bfloat16"], "head_dtype: - before, bfloat16 now"),
    ],
)
def test_certificates_of_other_settings_are_not_merged(tmp_path, trainings, given, message):
    _run(tmp_path, "--cell=6")
    with pytest.raises(ValueError, match=message):
        _run(tmp_path, *given)
    assert len(trainings.made) == 1


def test_certificates_of_a_cast_head_are_not_those_of_the_head(tmp_path, trainings):
    _run(tmp_path, "--cell=6", "--head_dtype=bfloat16")
    with pytest.raises(ValueError, match="head_dtype: bfloat16 before, - now"):
        _run(tmp_path, "--cell=6")


def test_certificates_of_another_split_are_not_merged(tmp_path, trainings):
    _run(tmp_path, "--cell=2")
    path = tmp_path / "digits_resnet18_0of18_sigma0.25" / "certified.tsv"
    header, *rows = path.read_text().splitlines()
    path.write_text("".join(f"{line}\t9/18\n" for line in rows).join([f"{header}\treplaced\n", ""]))
    with pytest.raises(ValueError, match="replaced: 9/18 before, 0/18 now"):
        _run(tmp_path, "--cell=2")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.25\n", "0.5\n", "sigma: 0.5 before, 0.25 now"),
        (None, "0" * 16, f"data_fingerprint: {'0' * 16} before"),
    ],
)
def test_certificates_of_other_noise_or_data_are_not_merged(tmp_path, trainings, old, new, message):
    _run(tmp_path, "--cell=2")
    path = tmp_path / "digits_resnet18_0of18_sigma0.25" / "certified.tsv"
    old = old or datasets.load("digits").fingerprint()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        _run(tmp_path)


def test_run_of_unknown_settings_is_not_merged(tmp_path, trainings):
    _run(tmp_path, "--cell=2")
    directory = tmp_path / "digits_resnet18_0of18_sigma0.25"
    (directory / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"cell 2, .*it has no settings\.json"):
        _run(tmp_path)
    (directory / "settings.json").write_text("[]")
    with pytest.raises(ValueError, match=r"settings\.json is damaged"):
        _run(tmp_path)


def test_certificates_that_are_not_complete_go_on(tmp_path, trainings):
    trainings.rows = 2
    _run(tmp_path, "--cell=2")
    assert _table(tmp_path)[1]["setting"] == "not finished, 2 of 3 images"
    path = tmp_path / "digits_resnet18_0of18_sigma0.25" / "certified.tsv"
    for content in (path.read_bytes()[:-9], b"", b"idx\tlabel", b"\0", path.read_bytes()):
        path.write_bytes(content)
        trainings.rows = 3
        _run(tmp_path, "--cell=2")
        assert _table(tmp_path)[1]["ACR"] == "0.250"
    assert len(trainings.made) == 6


def test_certificates_that_stay_damaged_are_an_error(tmp_path, trainings):
    _run(tmp_path)
    path = tmp_path / "digits_resnet18_0of18_sigma0.25" / "certified.tsv"
    damaged = path.read_text().replace("0.250000", "-1")
    path.write_text(damaged)
    made = len(trainings.made)
    # The training refuses the file.
    trainings.before = lambda run: 1
    with pytest.raises(ValueError, match="1 cells failed: 2"):
        _run(tmp_path)
    assert path.read_text() == damaged and len(trainings.made) == made + 1
    with pytest.raises(ValueError, match=r"cell 2, .*certified\.tsv is damaged"):
        _run(tmp_path, "--cell=1")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--sigma=0.5"], "--sigma is what the cells of a table choose"),
        (["--model=convnet"], "--model is what the cells"),
        (["--output_dir=x"], "--output_dir is what the cells.*--runs_dir is the folder"),
        (["--nocertify"], "--certify is what the cells"),
        (["--export"], "--export is not one of tables"),
        (["--max_n=5"], "--max_n is not one of tables"),
        (["--freeze_encoder"], "--freeze_encoder is about one encoder"),
        (["--method=margin"], "The tables are about smoothed classifiers"),
        (["--widen_factor=2"], "--model=resnet18 is sized by --width, not by --widen_factor"),
        (["--n=5"], "nothing can be certified"),
        (["--method=fixed", "--tolerance=0.1"], "goes with `method='sequential'` only"),
        (["--objective=macer", "--macer_weight=-1"], "weight"),
        (["--loss=hinge"], "needs --loss_margin"),
        (["--crop_padding=reflect"], "Training images of digits are not padded"),
        (["--num_images=361"], "--num_images must lie between 1 and the size"),
    ],
)
def test_flags_that_make_no_table_are_refused_before_anything_is_made(
    tmp_path, trainings, given, message
):
    with pytest.raises(ValueError, match=message):
        _run(tmp_path, *given)
    assert not trainings.made and not list(tmp_path.iterdir())


def test_width_of_a_wide_network_is_a_factor(tmp_path, trainings):
    with pytest.raises(ValueError, match="--model=wide_resnet34 is sized by --widen_factor"):
        _run(tmp_path, base=["--table=3", "--width=16"])


def test_list_is_a_script_of_the_cells(tmp_path, trainings, capsys):
    _run(tmp_path / "my runs", "--list")
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2][5] == "# cell 6, LS-RS 9/18, sigma 0.25"
    command = shlex.split(lines[1::2][5])
    assert command[:3] == ["python", "-m", "experiments.train"]
    assert f"--output_dir={tmp_path / 'my runs'}/digits_resnet18_9of18_sigma0.25" in command
    _run(tmp_path, "--list", "--cell=6")
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert not trainings.made and not list(tmp_path.iterdir())


def _arguments(directory, *arguments):
    return [*SMALL, f"--runs_dir={directory}", "--steps_per_epoch=2", "--n=100", *arguments]


def _ended(directory, *arguments):
    return run_command("experiments.tables", *_arguments(directory, *arguments))


@pytest.mark.slow
def test_whole_path_of_a_tiny_cell_with_an_interruption(tmp_path):
    runs = tmp_path / "runs"
    arguments = ["--cell=6", "--epochs=12"]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.tables", *_arguments(runs, *arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Shells start processes in the background deaf to Ctrl-C, the tests among them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not list(runs.glob("*/checkpoints/epoch_0002.keras")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # To all of them, as a terminal does it.
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Give the same command again" in errors and "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    ended = _ended(runs, *arguments)
    assert ended.returncode == 0, ended.stderr
    assert "Resuming after epoch" in ended.stdout and "Epoch 12/12" in ended.stdout
    assert re.search(r"\| 6 +\| LS-RS +\| 0.25 +\| 9/18 +\| 0\.\d{3} +\| 0.444", ended.stdout)
    # An ordinary run, which other commands take.
    (run,) = runs.glob("digits_*")
    assert {path.name for path in run.iterdir()} >= {"certified.tsv", "model.keras"}
    other = _ended(runs, "--cell=6", "--epochs=11")
    assert other.returncode == 1
    assert "epochs: 12 before, 11 now" in other.stderr
    assert other.stderr.count("\n") < 30 and "Traceback" not in other.stderr


@pytest.mark.slow
def test_cell_without_noise_has_the_accuracy_of_the_base_classifier(tmp_path):
    ended = _ended(tmp_path, "--cell=1")
    assert ended.returncode == 0, ended.stderr
    (row, *_) = _table(tmp_path)
    assert row["ACR"] == "0.000" and 0 <= float(row["accuracy (%)"]) <= 100
    assert row["setting"].endswith("3 images, certain, no samples")
