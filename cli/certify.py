"""`acl-tf certify`."""

from typing import Any

import click

from acl_tf.cli.hardware import hardware_options
from acl_tf.cli.measurement import Run, data_options, measure_and_print
from acl_tf.cli.settings import data_of_model, pinned, resolve, settings_of
from acl_tf.training.hardware import Hardware

KEYS = {
    "model": "model",
    "sigma": "sigma",
    "n0": "n0",
    "n": "n",
    "alpha": "alpha",
    "every": "every",
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "split": "data.split",
    "limit": "data.limit",
    "batch_size": "batch_size",
    "seed": "seed",
}


@click.command(short_help="Prove l2 radii of a classifier by randomised smoothing.")
@click.argument("model", metavar="MODEL")
@click.option("--sigma", type=float, required=True, help="Standard deviation of the noise, in pixels of [0, 1].")
@click.option("--n0", type=int, help="Draws that choose the class.  [default: 100]")
@click.option("--n", type=int, help="Other draws, which prove the radius.  [default: 100000]")
@click.option("--alpha", type=float, help="How often a certificate may be wrong.  [default: 0.001]")
@click.option("--every", metavar="N", type=int, help="Certify every N-th image, from the first.  [default: 1]")
@data_options
@click.option("--limit", type=int, help="The first so many images, before --every.")
@click.option("--batch-size", type=int, help="Draws at once; it does not change the results.  [default: 256]")
@click.option("--seed", type=int, help="Of the noise.  [default: 0]")
@click.option("--output", metavar="DIR", help="Keeps records and certificates.  [default: RUN/evaluation]")
@click.option("--resume", is_flag=True, help="Go on with a certification that was interrupted.")
@click.option("--json", "json_file", metavar="FILE", help="Write the list of records to this file.")
@hardware_options
def certify(
    model: str, output: str | None, resume: bool, json_file: str | None, hardware: Hardware, **flags: Any
) -> None:
    """Prove in which l2 balls the smoothed classifier does not change its mind.

    MODEL is what acl-tf evaluate takes; best one trained on such noise: acl-tf finetune --method gaussian --sigma. The
    smoothed classifier gives an image the class that MODEL gives to most of its noisy copies. Of each image the class
    is predicted, or it abstains, and the radius is proven with probability 1 - alpha (Cohen et al., ICML 2019).

    The records are printed, and added to the model folder; the certificates of all images are kept in
    DIR/certificates-*.jsonl, and acl-tf report draws certified accuracy against the radius.
    """
    from acl_tf.certify.config import CertifyConfig

    model = pinned(model)
    config = resolve(CertifyConfig, settings_of(KEYS, {"model": model, **flags}, ()), model_data=data_of_model(model))

    def load() -> Run:
        from acl_tf.certify.run import certify as run

        return run

    measure_and_print(load, config, model, output, resume, json_file, hardware)
