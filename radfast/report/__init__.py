"""The run as one HTML page."""

from radfast.report.context import ReportContext as ReportContext
from radfast.report.context import StageCost as StageCost
from radfast.report.page import render_report as render_report

__all__ = ["ReportContext", "StageCost", "render_report"]
