"""Forms for jobs, pure: what is asked, what was typed, and the spec or the sentences at the fields that come of it.

    form = form_of("train", catalogue, known)
    form.set("recipe.epochs", "20")
    form.errors()        # {path: sentence}, empty when it can be submitted
    form.submission()    # the jobs, in one transaction
    form.command()       # the same as a command line

The catalogue is the daemon's; which fields there are depends on what was chosen (a direction has its own options).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tui.forms.base import Form
from tui.forms.known import Known, known
from tui.forms.landscape import PlaneForm, SurfaceForm
from tui.forms.results import AnalysisForm, ExportForm, ImportForm
from tui.forms.train import TrainForm

__all__ = ["FORMS", "ExportForm", "Form", "ImportForm", "Known", "again", "form_of", "known"]

FORMS: dict[str, type[Form]] = {
    f.kind: f for f in (TrainForm, PlaneForm, SurfaceForm, AnalysisForm, ExportForm, ImportForm)
}


def form_of(kind: str, catalogue: Mapping[str, Any], known: Known | None = None) -> Form:
    """An empty form of that kind, its defaults filled in."""
    return FORMS[kind](catalogue, known)


def again(spec: Mapping[str, Any], catalogue: Mapping[str, Any], known: Known | None = None, name: str = "") -> Form:
    """A form filled with the spec of a job (plain data), to be edited. Raises InputError for what no form can say."""
    form = FORMS[str(spec["kind"])](catalogue, known)
    form.fill(spec)
    if name:
        form.raw["job.name"] = name
    return form
