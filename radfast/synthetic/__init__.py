"""Synthetic archives with known truth, and endless synthetic reports.

`make_archive` writes

- ``archive/``: DICOM studies of invented patients, CT, MR and radiographs of eight kinds of examination, in
  folders of several shapes, in seven transfer syntaxes, with key object selections for some studies;
- ``reports.jsonl``: a report per study and many more of studies without images;
- ``ontology.obo``: the small ontology whose terms the reports use;
- ``truth/``: what every stage should find (see `radfast.synthetic.truth`).

`stream_reports` yields text alone, up to 10^9 words and beyond, without holding it.

Where things are: ``exams*`` (tables of examinations and findings), ``phrases`` (shared sentences),
``grammar`` (template language, byte offsets), ``citations`` (how images are cited), ``reports`` (dictation),
``vocabulary`` (long tail), ``canvas``, ``phantoms``, ``lesions`` (pictures), ``study`` (plans), ``dicom``,
``truth``, ``archive`` and ``stream``. A new examination is a table and a phantom of the same key.
"""

from __future__ import annotations

from radfast.synthetic.archive import Summary, make_archive
from radfast.synthetic.stream import stream_reports

__all__ = ["Summary", "make_archive", "stream_reports"]
