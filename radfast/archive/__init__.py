"""Reading an archive: DICOM folders to pictures and header rows, reports to text, each input to a ledger row.

Public names are imported on first use: a worker process that only decodes must not pay for pyarrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radfast.archive.instance import Instance as Instance
    from radfast.archive.instance import read_instance as read_instance
    from radfast.archive.instance import read_picture as read_picture
    from radfast.archive.reasons import Reason as Reason
    from radfast.archive.stage import Ingested as Ingested
    from radfast.archive.stage import ingest as ingest

_HOMES = {
    "Ingested": "radfast.archive.stage",
    "ingest": "radfast.archive.stage",
    "Instance": "radfast.archive.instance",
    "read_instance": "radfast.archive.instance",
    "read_picture": "radfast.archive.instance",
    "Reason": "radfast.archive.reasons",
}

__all__ = ["Ingested", "Instance", "Reason", "ingest", "read_instance", "read_picture"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'radfast.archive' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
