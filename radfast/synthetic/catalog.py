"""All examinations, in the order of the document topics."""

from __future__ import annotations

from radfast.synthetic.exams import Exam
from radfast.synthetic.exams_abdomen import ABDOMEN_CT
from radfast.synthetic.exams_bone import BONE_XR, KNEE_MR, SPINE_MR
from radfast.synthetic.exams_chest import CHEST_CT, CHEST_XR
from radfast.synthetic.exams_head import BRAIN_MR, HEAD_CT

EXAMS: tuple[Exam, ...] = (CHEST_CT, ABDOMEN_CT, HEAD_CT, BRAIN_MR, SPINE_MR, KNEE_MR, CHEST_XR, BONE_XR)
