"""All examinations, in the order of the document topics."""

from __future__ import annotations

from radfast.synthetic.exams import Exam
from radfast.synthetic.exams_ct import ABDOMEN_CT, CHEST_CT, HEAD_CT
from radfast.synthetic.exams_mr import BRAIN_MR, KNEE_MR, SPINE_MR
from radfast.synthetic.exams_xr import BONE_XR, CHEST_XR

EXAMS: tuple[Exam, ...] = (CHEST_CT, ABDOMEN_CT, HEAD_CT, BRAIN_MR, SPINE_MR, KNEE_MR, CHEST_XR, BONE_XR)
