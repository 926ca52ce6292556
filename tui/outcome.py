"""What a job gave, in a few words for the end of its bar."""

from __future__ import annotations

import math
from typing import Any

from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import PlaneMeta
from protocol.requests import JobInfo, RunGet
from tui import progress
from tui.workspace import SHORT

DID = {"train": "trained", "plane": "cut", "surface": "measured", "analysis": "analysed", "export": "exported"}


def text(client: Client, job: JobInfo) -> str:
    """`test loss 0.21, 96.1 %`, `explains 98.2 %`, `surface 4F2K9A`."""
    result = job.result
    if result is None:
        return "done"
    if result.plane is not None:
        return plane_text(result.plane_meta)
    if job.kind == "train" and result.run is not None:
        return progress.short_metrics(metrics(client, result.run)) or "done"
    for what in ("surface", "run"):
        if getattr(result, what):
            return f"{what} {getattr(result, what)[-SHORT:]}"
    return ", ".join(result.files) or "done"


def metrics(client: Client, run: str) -> dict[str, float]:
    """The metrics of a run's last epoch; {} where it is gone or has none."""
    try:
        item: dict[str, Any] = client.request(RunGet(id=new_id(), run=run)).item
    except InputError:
        return {}
    return {k: float(v) for k, v in item.get("metrics", {}).items()}


def plane_text(meta: PlaneMeta | None) -> str:
    """What is worth knowing of a plane, in a few words."""
    if meta is None:
        return "done"
    if meta.explained_variance_ratio is not None:
        return f"explains {100 * sum(meta.explained_variance_ratio):.1f} %"
    if meta.cosine is not None:
        return f"cosine {cosine_text(meta.cosine)}"
    return "done"


def cosine_text(cosine: float) -> str:
    """Four decimals; what rounds to zero has no sign."""
    return f"{round(cosine, 4) + 0.0:.4f}"


def known(job: JobInfo) -> str:
    """The sentence for a question that was answered at once."""
    thing = ""
    if job.result is not None:
        for what in ("surface", "plane", "run"):
            if getattr(job.result, what):
                thing = f": {what} {getattr(job.result, what)[-SHORT:]}"
                break
    return f"already {DID.get(job.kind, 'done')}{thing}"


def diverged(metrics: dict[str, float]) -> str | None:
    """What to say of a training whose loss is no number any more."""
    bad = [name for name, value in metrics.items() if "loss" in name and not math.isfinite(value)]
    if not bad:
        return None
    return f"the training diverged: {bad[0].replace('_', ' ')} is {metrics[bad[0]]} (a smaller --lr may help)"
