"""Findings of an ontology in reports, and how they are asserted."""

from __future__ import annotations

from radfast.findings.mentions import Finding, find_findings, label_reports
from radfast.findings.ontology import DEFAULT_ONTOLOGY, Concept, Ontology

__all__ = ["DEFAULT_ONTOLOGY", "Concept", "Finding", "Ontology", "find_findings", "label_reports"]
