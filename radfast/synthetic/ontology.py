"""The names of the project's small ontology, for the truth of the findings."""

from __future__ import annotations

import re
from functools import cache

from radfast.findings.ontology import DEFAULT_ONTOLOGY

#: The ontology file that is shipped with the package.
ONTOLOGY = DEFAULT_ONTOLOGY

_ID = re.compile(r"^id: (\S+)$", re.M)
_NAME = re.compile(r'^(?:name: (.+)|synonym: "(.+)" EXACT \[\])$', re.M)


@cache
def read_names() -> dict[str, str]:
    """Return every name and synonym of the ontology, lower case, with its concept id."""
    names: dict[str, str] = {}
    for stanza in ONTOLOGY.read_text(encoding="utf-8").split("[Term]")[1:]:
        found = _ID.search(stanza)
        if found:
            names |= {(a or b).lower(): found[1] for a, b in _NAME.findall(stanza)}
    return names
