"""Trains a model that is smoothed in its latent space.

Then, by flag, certifies it, reports and exports. A run that was interrupted goes on from its last
finished epoch, or from its last certified image, when the same command is given again.

    python -m experiments.train --flagfile=digits_ls.flags
"""

import json
import shutil

import keras
from absl import flags

import lsrs_tf
from experiments import (
    checkpoints,
    command_line,
    datasets,
    encoder_flags,
    fitting,
    loss_flags,
    model_flags,
    objective_flags,
    optimizer_flags,
    shared_flags,
    strategies,
)
from experiments.certified_test_set import certify_test_images, evenly_spread
from experiments.report_writer import write_report
from experiments.run_directory import RunDirectory
from experiments.run_export import export_run, refuse_flags_of_samples
from lsrs_tf.certification.settings import Settings
from lsrs_tf.evaluation import multiply_adds
from lsrs_tf.files import written_whole

flags.DEFINE_enum("dataset", None, datasets.NAMES, "Data set.")
flags.DEFINE_float("sigma", None, "Standard deviation of the noise in the latent.")
flags.DEFINE_integer("epochs", None, "Epochs to train.", lower_bound=1)
flags.DEFINE_integer("batch_size", 128, "Images in a training batch.", lower_bound=1)
flags.DEFINE_integer(
    "steps_per_epoch", None, "Steps of an epoch, to shorten a trial.", lower_bound=1
)
flags.DEFINE_enum(
    "crop_padding",
    "zeros",
    datasets.CROP_PADDINGS,
    "What is around the training images of cifar10 where they are cropped.",
)
flags.DEFINE_float(
    "rand_augment",
    None,
    "Strength of two random operations (RandAugment of Keras) on each training image; by default "
    "none. They take more time than a step of a small network on two CPU cores.",
    lower_bound=1e-6,
    upper_bound=1.0,
)
flags.DEFINE_string("output_dir", None, "Folder of the run.")
flags.DEFINE_boolean("certify", False, "Certify the test images at the end.")
flags.DEFINE_boolean("report", False, "Write table and plot at the end (needs --certify).")
flags.DEFINE_boolean("export", False, "Write a SavedModel at the end.")

# Settings that folders of earlier versions lack, and what they were.
DEFAULTS = {
    "crop_padding": "zeros",
    **loss_flags.DEFAULTS,
    **objective_flags.DEFAULTS,
    **optimizer_flags.DEFAULTS,
    **encoder_flags.DEFAULTS,
}
# What decides the trained weights; a folder holds one run of these.
SETTINGS = (
    "dataset",
    *model_flags.NAMES,
    "sigma",
    "epochs",
    "batch_size",
    "steps_per_epoch",
    "seed",
    "crop_padding",
    "rand_augment",
    *loss_flags.NAMES,
    *objective_flags.NAMES,
    *optimizer_flags.NAMES,
    *encoder_flags.NAMES,
)
flags.adopt_module_key_flags(command_line)
flags.adopt_module_key_flags(encoder_flags)
flags.adopt_module_key_flags(loss_flags)
flags.adopt_module_key_flags(model_flags)
flags.adopt_module_key_flags(objective_flags)
flags.adopt_module_key_flags(optimizer_flags)
flags.adopt_module_key_flags(strategies)
shared_flags.define_data()
shared_flags.define_method()
shared_flags.define_export()


def main(argv):
    """Trains, and goes on to whatever the flags ask for."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    if flag.report and not flag.certify:
        raise ValueError("--report needs --certify, which gives it something to report.")
    sizes = model_flags.sizes_of_flags()
    run = RunDirectory(flag.output_dir)
    settings = {name: getattr(flag, name) for name in SETTINGS} | encoder_flags.settings_of_flags()
    cluster = strategies.cluster_of_flags()
    if run.model.is_file() and cluster is not None and cluster.index > 0:
        print(f"{run.model} is trained already. The rest is the chief's.")
        return
    # A trained model needs no others.
    workers = strategies.ALONE
    if not run.model.is_file():
        workers = _meet(run, settings, cluster)
    # Not before the workers have compared their flags: the others would wait for one that ends.
    run.check(settings, DEFAULTS)
    data = datasets.load(
        flag.dataset,
        flag.data_dir,
        flag.download,
        crop_padding=flag.crop_padding,
        rand_augment=flag.rand_augment,
    )
    workers.share.check(data.num_train, flag.batch_size)
    steps_per_epoch = _steps_per_epoch(data, workers)
    loss = loss_flags.loss_of_flags(steps_per_epoch * flag.epochs)
    objective = objective_flags.objective_of_flags(steps_per_epoch)
    if flag.certify or flag.export:
        # Not after the training, which may take days.
        _check_what_follows(data)
    if workers.is_chief:
        run.claim(settings, DEFAULTS)
        with written_whole(run.class_names) as path:
            path.write_text(json.dumps(data.class_names) + "\n")
    if run.model.is_file():
        print(f"{run.model} is trained already.")
        model = checkpoints.load_model(run.model)
    else:
        with strategies.explained_losses(workers.strategy):
            _train(run, data, sizes, loss, objective, workers)
        if not workers.is_chief:
            print(f"Worker {workers.share.worker} has done its part. The rest is the chief's.")
            return
        # On one device, whatever trained it.
        model = checkpoints.load_model(run.model)
        _print_accuracy(model, data)
        if workers.share.workers > 1 and (flag.certify or flag.export):
            strategies.go_on_alone("experiments.train")
    _go_on(run, data, model)


def _meet(run, settings, cluster):
    """Returns the workers, which have found that all of them begin with the same."""
    found = {
        "epochs done in --output_dir": checkpoints.epochs_done(run.checkpoints),
        "newest checkpoint in --output_dir": checkpoints.fingerprint(run.checkpoints),
        "model of --pretrained_encoder": _pretrained(run),
    }
    # Before TensorFlow is used for the data.
    workers = strategies.start(cluster, {**settings, **found})
    if not found["epochs done in --output_dir"]:
        encoder_flags.source_of_flags()
    return workers


def _check_what_follows(data):
    """Raises ValueError if certificates or the export could not be made of what is trained."""
    flag = flags.FLAGS
    evenly_spread(data.num_test, flag.num_images)
    method = Settings(**shared_flags.certification_settings()).method
    if flag.certify and flag.sigma == 0 and method != "margin":
        raise ValueError(
            "--sigma=0 trains without noise, and there is nothing to smooth. Give "
            "--method=margin, or a --sigma above 0."
        )
    shared_flags.number_list("served_radii")
    if flag.export and flag.sigma == 0:
        refuse_flags_of_samples()


def _go_on(run, data, model):
    """Certifies, reports and exports, as the flags say."""
    flag = flags.FLAGS
    if flag.certify:
        certify_test_images(
            lsrs_tf.Certifier(model, **shared_flags.certification_settings()),
            model,
            data,
            run.certified,
            fitting.fraction_replaced(
                flag.model, flag.orthogonal_layers, flag.parametrization, flag.head
            ),
            evenly_spread(data.num_test, flag.num_images),
        )
        print(f"Wrote {run.certified}.")
    if flag.report:
        print(write_report([run.certified], run.report))
        print(f"Wrote {run.report}/report.md and {run.report}/certified_accuracy.png.")
    if flag.export:
        export_run(model, run, directory=None, sigma=None)


def _pretrained(run):
    """Returns a hash of the model that the encoder comes from, or an empty text for none."""
    # A training that goes on has its encoder in the checkpoint.
    if flags.FLAGS.pretrained_encoder is None or checkpoints.epochs_done(run.checkpoints):
        return ""
    try:
        return checkpoints.file_fingerprint(encoder_flags.source_of_flags())
    except FileNotFoundError as error:
        # It is raised after the workers have compared: the others would wait for one that ends.
        return str(error)


def _train(run, data, sizes, loss, objective, workers):
    keras.utils.set_random_seed(flags.FLAGS.seed)
    with optimizer_flags.precision():
        model = _fitted_model(run, data, sizes, loss, objective, workers)
    if workers.is_chief:
        with written_whole(run.model) as path:
            model.save(path)
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        print(f"Wrote {run.model}.")
    # If the chief fails to write, the others have to be there for another try.
    workers.wait()


def _fitted_model(run, data, sizes, loss, objective, workers):
    flag = flags.FLAGS
    with workers.scope():
        model, epochs_done = checkpoints.restore_newest(run.checkpoints)
        if model is None:
            model = _compiled_model(data, sizes, loss, objective, workers)
    if epochs_done:
        print(f"Resuming after epoch {epochs_done} of {flag.epochs}.")
    if epochs_done < flag.epochs:
        steps_per_epoch = flag.steps_per_epoch
        if workers.strategy is not None:
            steps_per_epoch = _steps_per_epoch(data, workers)
        train = data.training(flag.batch_size, flag.seed, workers.share)
        fitting.fit(model, train, flag.epochs, run.path, epochs_done, steps_per_epoch, workers)
    # Moving averages of weights take their place, also where all epochs had been done before.
    model.optimizer.finalize_variable_values(model.trainable_weights)
    return model


def _compiled_model(data, sizes, loss, objective, workers):
    flag = flags.FLAGS
    model = fitting.build_model(
        flag.model,
        sizes,
        len(data.class_names),
        data.image_shape,
        flag.sigma,
        flag.parametrization,
    )
    encoder_flags.prepare(model.encoder)
    optimizer_flags.add_weight_decay(model.head)
    model.compile(
        optimizer=optimizer_flags.sgd(_steps_per_epoch(data, workers), flag.epochs),
        loss=loss,
        metrics=["accuracy"],
        objective=objective,
    )
    if workers.is_chief:
        model.summary()
    return model


def _steps_per_epoch(data, workers):
    flag = flags.FLAGS
    return flag.steps_per_epoch or workers.share.steps(data.num_train, flag.batch_size)


def _print_accuracy(model, data):
    scores = model.evaluate(
        data.test(None).batch(flags.FLAGS.batch_size), return_dict=True, verbose=0
    )
    print(
        f"Accuracy of the base classifier without noise: {100 * scores['accuracy']:.2f} % of "
        f"{data.num_test} test images."
    )
    if model.sigma > 0:
        print(f"Each noisy sample takes the head {multiply_adds(model.head):,} multiply-adds.")


if __name__ == "__main__":
    command_line.run(main, required=["dataset", "model", "sigma", "epochs", "output_dir"])
