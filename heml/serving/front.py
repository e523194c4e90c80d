"""The panel in front of the page: two photographs, dropped or chosen."""

from __future__ import annotations

from importlib import resources

import jinja2
from markupsafe import Markup

from heml.reporting.page import Front
from heml.serving.application import MOST_BYTES
from heml.serving.explainer import KEPT


def front(segments: bool) -> Front:
    """The panel.

    Args:
        segments: whether the run can find parts in new photographs.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("heml.serving", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("panel.html.j2").render(segments=segments, most_bytes=MOST_BYTES, kept=KEPT)
    own = resources.files("heml.serving")
    style, script = ((own / f"panel.{kind}").read_text("utf-8") for kind in ("css", "js"))
    # escaped by its own template
    return Front("yours", "Your photographs", Markup(text), style, script, "connect-src 'self'")
