"""`reports/index.html`: one self-contained page. Everything that comes from data is escaped by the templates."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from heml.atomic import new_file, new_folder
from heml.baselines.measure import COLUMNS
from heml.errors import shown
from heml.explanation.drawing import to_png
from heml.reporting.curves import curve_table
from heml.reporting.explorer import explorer
from heml.reporting.finished import Finished
from heml.reporting.panels import panels


def write_report(finished: Finished) -> None:
    """Write the page, and the plots beside it."""
    with new_folder(finished.run.plots) as partial:
        curve_table(finished.nodes).to_csv(partial / "curves.csv", index=False, float_format="%.6g")
        pd.DataFrame(finished.comparison, columns=COLUMNS).to_csv(
            partial / "comparison.csv", index=False, float_format="%.6g"
        )
        if finished.drawing:
            (partial / "pair.png").write_bytes(to_png(finished.drawing[1]))
    page = render(finished)
    with new_file(finished.run.index) as partial:
        partial.write_text(page, "utf-8")


@dataclass(frozen=True)
class Front:
    """A section before all others, of whoever serves the page."""

    name: str
    title: str
    text: Markup
    style: str
    script: str
    """Runs after the page's own, of which it may use everything."""
    policy: str
    """What else the page may do, in the words of a content security policy."""


def render(finished: Finished, data: dict[str, Any] | None = None, front: Front | None = None) -> str:
    """The page: every panel that has something to show, in their order.

    Args:
        data: what `explorer` makes of the run, where it is at hand.
    """
    environment = page_environment()
    common = {
        "label": finished.description.label,
        "label_names": finished.labels,
        "search": finished.params.evaluate.search,
    }
    sections = []
    for panel in panels():
        context, name = panel.context(finished), panel.__name__.rpartition(".")[2]
        if context is not None:
            text = environment.get_template(f"{name}.html.j2").render(common | context)
            sections.append({"id": name, "title": panel.TITLE, "text": Markup(text)})  # escaped by its own template
    script, style, policy = scripts(), _part("page.css"), ""
    if front is not None:
        sections.insert(0, {"id": front.name, "title": front.title, "text": front.text})
        script, style, policy = f"{script}\n{front.script}", f"{style}\n{front.style}", f"; {front.policy}"
    return environment.get_template("page.html.j2").render(
        common
        | {
            "title": finished.params.report.title,
            "style": Markup(style),
            "script": Markup(script),
            "script_hash": source_hash(script),
            "policy": Markup(policy),
            "sections": sections,
            "explorer": explorer(finished) if data is None else data,
        }
    )


def page_environment() -> jinja2.Environment:
    """Where templates are, and how values are shown."""
    loader = jinja2.ChoiceLoader(
        [jinja2.PackageLoader("heml.reporting", "."), jinja2.PackageLoader("heml.reporting", "panels")]
    )
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    # what is markup comes from here
    environment.finalize = lambda value: shown(value, "\n\t") if type(value) is str else value
    environment.filters["share"] = lambda v: "–" if v is None or v != v else f"{v * 100:.1f}".replace("-", "−")
    environment.filters["decimal"] = lambda v, digits=2: "–" if v is None or v != v else f"{v:.{digits}f}"
    environment.filters["milliseconds"] = lambda v: "–" if v is None or v != v else f"{v * 1000:.0f}"
    environment.filters["megabytes"] = lambda v: f"{v / 1e6:,.0f}"
    return environment


def scripts() -> str:
    """The page's own script: all parts in the order of their names."""
    parts = sorted((resources.files("heml.reporting") / "scripts").iterdir(), key=lambda part: part.name)
    return '"use strict";\n' + "\n".join(part.read_text("utf-8") for part in parts if part.name.endswith(".js"))


def source_hash(script: str) -> str:
    """Of a script, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _part(name: str) -> str:
    """A file that stands in the page as it is."""
    return (resources.files("heml.reporting") / name).read_text("utf-8")
