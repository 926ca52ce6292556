"""Fetching a data set with torchvision's own downloader: all or nothing. Only `thalweg data fetch` comes here."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from protocol.errors import InputError

TIMEOUT_S = 30.0


def fetch_into(root: Path, name: str, folder: str, download: Callable[[Path], object]) -> Path:
    """Run `download(tmp)` in a temporary folder beside the target and move its `folder` to root/folder; gives that.

    Raises InputError: no network, a download that does not match its checksum, a root that cannot be written.
    """
    target = root / folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        tmp = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    except OSError as error:
        raise InputError(f"{name}: cannot write into {root}: {(error.strerror or str(error)).lower()}") from None
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(TIMEOUT_S)  # the downloader sets none: a silent network would hang it for minutes
        download(tmp)
        if target.exists():
            shutil.rmtree(target)
        (tmp / folder).rename(target)
    except (OSError, RuntimeError, EOFError) as error:  # URLError is an OSError
        reason = str(getattr(error, "reason", None) or error).strip().splitlines()
        raise InputError(
            f"{name}: the download failed ({reason[0] if reason else type(error).__name__}): check the network, "
            f"or copy the files to {target} by hand",
            code="unavailable",
        ) from None
    finally:
        socket.setdefaulttimeout(patience)
        shutil.rmtree(tmp, ignore_errors=True)
    return target
