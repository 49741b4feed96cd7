"""The page: all sections, rendered into one self-contained file."""

import datetime
import re
from collections.abc import Callable, Sequence

import jinja2
from markupsafe import Markup

from acl_tf.errors import AclTfError
from acl_tf.report import accuracy, certificates, corruptions, curves, dynamics, overview
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.versions import __version__

IMAGES = {"gallery": "Adversarial images", "projection": "Features"}
Say = Callable[[str], None]


def build(runs: Sequence[Run], images: int, data_dir: str | None, say: Say) -> str:
    """Returns the page.

    Args:
        runs: Runs to show; at least one.
        images: Number of test images to attack and project; TensorFlow is not needed for 0.
        data_dir: Folder of the data sets that TFDS has prepared; None: those that the runs used.
        say: Function that reports progress and what is missing.

    Returns:
        HTML, which is the same for the same runs, except for the date.
    """
    sections = [module.section(runs) for module in (overview, accuracy, curves, dynamics, corruptions, certificates)]
    if images and any(run.model for run in runs):
        sections += _image_sections(runs, images, data_dir, say)
    else:
        absent = "None of these runs has a model." if images else "Left out by --no-images."
        sections += [Section(key, title, absent=absent) for key, title in IMAGES.items()]
    return render(sections, title=runs[0].name if len(runs) == 1 else f"{len(runs)} runs")


def render(sections: Sequence[Section], title: str) -> str:
    """Renders sections as HTML; text from runs is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("acl_tf.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = breakable
    return environment.get_template("page.html").render(
        sections=sections,
        title=title,
        date=datetime.date.today().isoformat(),
        version=__version__,
    )


def breakable(name: str) -> Markup:
    """Returns a name that may be broken into lines after underscores, hyphens and slashes only."""
    return Markup("<wbr>").join(re.split("(?<=[_/-])", name))


def _image_sections(runs: Sequence[Run], images: int, data_dir: str | None, say: Say) -> list[Section]:
    from acl_tf.report import gallery, projection
    from acl_tf.report.attacked import Attacked, attack_test_images

    attacked: dict[int, Attacked] = {}
    failed: dict[int, str] = {}
    for run in runs:
        if not run.model:
            failed |= {run.number: "This run has no model yet."} if run.about else {}
            continue
        say(f"attacking test images of {run.name}")
        try:
            attacked[run.number] = attack_test_images(run, images, data_dir)
        except AclTfError as error:
            failed[run.number] = str(error)
            say(f"no images of {run.name}: {error}")
    return [module.section(runs, attacked, failed) for module in (gallery, projection)]
