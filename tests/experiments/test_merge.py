import subprocess

import pytest

from experiments.run_directory import RunDirectory
from lsrs_tf import models
from lsrs_tf.records import reading
from tests.commands import run_command


@pytest.mark.slow
def test_shards_are_merged_and_recertified_by_the_commands_of_the_readme(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.claim({"dataset": "digits", "model": "convnet", "orthogonal_layers": 2})
    models.convnet(width=4).save(run.model)

    def command(module, *arguments):
        run_command(f"experiments.{module}", *arguments).check_returncode()

    images = [f"--run_dir={run.path}", "--num_images=5"]
    for shard in ("1/2", "2/2"):
        certified = run_command(
            *("experiments.certify", *images, "--n0=10", "--n=100", f"--shard={shard}"),
            f"--data_dir={tmp_path}",
        )
        certified.check_returncode()
    following = f"merge --run_dir={run.path} --num_images=5 --data_dir={tmp_path}"
    assert f"Next: python -m experiments.{following}\n" in certified.stdout
    first = run.path / "certified.1of2.tsv"
    text = first.read_text()
    # A shard that was certified on another machine, whose data differ in one image.
    first.write_text(text[:-2] + ("1" if text[-2] == "0" else "0") + "\n")
    with pytest.raises(subprocess.CalledProcessError):
        command("merge", *images)
    assert not run.certified.exists()
    first.write_text(text)
    # Shards that were made before another model came into the folder.
    right = run.model.read_bytes()
    models.convnet(width=4).save(run.model)
    refused = run_command("experiments.merge", *images)
    assert "A shard is of another model" in refused.stderr
    assert not run.certified.exists()
    run.model.write_bytes(right)
    command("merge", *images)
    merged = reading.read(run.certified)
    assert [record.idx for record in merged] == [0, 72, 144, 216, 288]
    again = tmp_path / "at_01.tsv"
    command("recertify", str(run.certified), "--alpha=0.01", f"--outfile={again}")
    assert {record.extra["alpha"] for record in reading.read(again)} == {"0.01"}
