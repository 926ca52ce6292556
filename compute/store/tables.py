"""All tables of the store as one object: what the functions given to `Store.write` and `Store.read` work on."""

from __future__ import annotations

from .calibrations import Calibrations
from .jobs import Jobs
from .planes import Planes
from .requests import Requests
from .runs import Runs
from .surfaces import Surfaces


class Tables(Requests, Jobs, Runs, Planes, Surfaces, Calibrations):
    """Plain values in, plain values out; every call is inside the transaction of its group."""
