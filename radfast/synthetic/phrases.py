"""Phrases that all examinations share, as templates of `radfast.synthetic.grammar`.

Slots: F a name of the finding, word an adjective, at and site its place ("in the right lung", "the right
lung"), size a measure, art an article or nothing, be "is" or "are", cite the citation (with its blank), T a
word of the long tail, and small numbers n, ml, hu, slice, percent, year.
"""

from __future__ import annotations

AFFIRMED_SIZED = (
    "There is {an} {size} {word} {+F} {at}{cite}.",
    "{an} {word} {+F} {at} measures {size}{cite}.",
    "{word} {+F} {at}{cite}.",
    "Within {site} there is {an} {word} {+F} measuring {size}{cite}.",
    "{site} [contains|shows|demonstrates] {an} {size} {+F}{cite}.",
    "[Stable|Redemonstrated|Interval enlargement of the] {word} {+F} {at}{cite}.",
    "{an} {size} {+F} is [seen|identified|present|noted] {at}{cite}.",
    "Dominant finding is {an} {word} {+F} {at}, {size} in [greatest|maximal] dimension{cite}.",
)

AFFIRMED = (
    "There {be} {art}{word} {+F} {at}{cite}.",
    "{word} {+F} {be} [seen|identified|present|noted] {at}{cite}.",
    "{site} [shows|demonstrates] {art}{word} {+F}{cite}.",
    "{word} {+F} {at}{cite}.",
    "[The most striking|Dominant] abnormality is {art}{word} {+F} {at}{cite}.",
    "Appearances {at} are [those of|consistent with|diagnostic of] {art}{word} {+F}{cite}.",
)

NEGATED = (
    "There is no {-F}{cite}.",
    "No evidence of {-F} {at}{cite}.",
    "No {word} {-F} is [seen|identified]{cite}.",
    "{site} is [free of|without] {-F}{cite}.",
    "[Negative|The examination is negative] for {-F}{cite}.",
)

UNCERTAIN = (
    "Possible {?F} {at}{cite}.",
    "Questionable {word} {?F} {at}{cite}.",
    "{word} {?F} {at} cannot be excluded{cite}.",
    "Findings {at} may represent {?F}{cite}.",
    "Appearance is suspicious for {?F} {at}{cite}.",
)

PRIOR = (
    "It measured {size}{prior}.",
    "This was already present{prior}.",
    "The appearance was similar{prior}.",
    "It was [less|more] conspicuous{prior}.",
)

PRIOR_ASIDE = ("Baseline images are those{prior}.",)

AMBIGUOUS = (
    "[Comparable|Similar|Lesser] change {at}{cite}.",
    "A [second|further] focus of similar appearance{cite}.",
)

HISTORY = (
    "[Patient|The patient] with a history of {~D}[.| and {~E}.]",
    "Past medical history [includes|of] {~D} and {T}.",
    "History of {~D}, [treated with|currently on] {T}.",
    "Status post {T} in {year}.",
    "Family history of {&D}.",
    "[Referred|Transferred] by Dr. {S} of the {S} clinic for further evaluation.",
    "{age} year old [man|woman] on {T} and {T}.",
    "Remote {T} procedure with {T}, no records available.",
    "Laboratory values include {T} of {n}.{n} and normal {T}.",
    "No known allergies to {T} or iodinated agents.",
    "[Outpatient|Inpatient] of the {S} [unit|ward|service] with {T}, {T} and"
    " [fatigue|fever|nausea|weight loss|night sweats].",
    "[Symptoms|Complaints] began [{n} days|{n} weeks|{n} months] ago after [lifting|travel|surgery|a"
    " fall|exercise] and {T}.",
    "[Takes|Receives] {T}, {T} and {T} [daily|weekly|as needed] as prescribed by Dr. {S}.",
)

DISEASES = (
    "hypertension",
    "diabetes mellitus",
    "coronary artery disease",
    "breast cancer",
    "colon cancer",
    "prostate cancer",
    "melanoma",
    "lymphoma",
    "asthma",
    "chronic obstructive pulmonary disease",
    "diabetes",
    "high blood pressure",
)

TECHNIQUE = (
    "Comparison with outside images was not possible.",
    "Images were transferred to the [PACS|archive] and interpreted by Dr. {S}.",
    "Dose length product was {n}{n}.{n} mGy cm.",
    "The [{T}|standard] protocol was used without complication.",
    "Consent was obtained and {T} was withheld.",
    "[Scanner|Equipment]: {S} {n}{n}00 with {T} reconstruction and [iterative|standard|sharp] kernel.",
    "{T} was given [orally|intravenously|rectally] at a rate of {n} mL per second with [saline"
    " flush|{T} premedication].",
)

COMPARISON = (
    "None.",
    "No outside [examination|study] of this region is available for [comparison|direct comparison].",
    "{exam} of {date}.",
    "Outside {exam} dated {date}.",
)

PARTS = (
    "The {A} and the {A} have a [normal|preserved|symmetric] appearance.",
    "Evaluation of the {A} [reveals|discloses] no [displacement|asymmetry|distortion|focal abnormality].",
    "{A}, {A} and {A}: [normal|unremarkable|intact].",
    "[Note is made of|There is] [mild|minimal|slight|trace] {T} change about the {A}.",
    "Visualization of the {A} is [good|adequate|limited|incomplete].",
    "Contour and position of the {A} are [appropriate|physiologic|anatomic] for a patient of this age.",
)

FILLER = (
    "Motion artifact [mildly|slightly] degrades the images and limits assessment of fine detail.",
    "The remaining visualized structures are unremarkable for the age of the patient.",
    "Postsurgical change related to {T} is [noted|again seen] without complication.",
    "Incidental note is made of a {T} variant of no clinical significance.",
    "Surgical clips are [noted|present] from an earlier {T} procedure.",
    "[Hardware|A device] of {T} type is [intact|in expected position].",
    "The study is otherwise within normal limits for patient age.",
    "Correlation with {T} levels and clinical examination is suggested.",
    "Soft tissue and osseous structures are otherwise within normal limits.",
    "A small {T} remnant is again noted and is of doubtful significance.",
    "Limited evaluation because of body habitus and lack of {T}.",
    "Artifact from {T} hardware obscures a small portion of the field of view.",
    "The right and left sides are symmetric in appearance without evidence of asymmetry.",
    "There is no other acute abnormality on the right or on the left.",
    "No further right or left sided abnormality is seen with contrast.",
)

#: Clauses that may stand before the full stop of a normal sentence.
CLAUSES = (
    " on the right and on the left",
    " within the limits of this {T} examination",
    " in the field of view of the {A}",
    " allowing for [technique|patient motion|respiratory motion|beam hardening]",
    " on all available images of the {A}",
    " on the right side and on the left side",
    " with no evidence of interval change in the region of the {A}",
    " with expected [postoperative|posttreatment] change from {T} and {T}",
    " as far as can be evaluated with [contrast|this protocol|the present technique]",
    " in this patient treated with {T} and {T} [under Dr. {S}|by {S}|in {year}]",
    " when viewed in the [coronal|sagittal|axial|oblique] plane near the {A}",
    ", [keeping|retaining|preserving] [normal|usual|expected] size, shape and position",
    " and [minor|subtle|incidental|trivial] {T} change adjacent to the {A} [needs no|does not need]"
    " follow up",
    " [apart from|except for|beside] [minimal|mild|scant] {T} [thickening|irregularity|prominence]"
    " near the {A}",
    ", with a [smooth|regular|sharp] outline of the adjacent {A}",
    " [despite|after] {T} [therapy|exposure|placement] since {year}",
    ", with the {T} score at {n} out of 10 by the {S} criteria",
    ", including the {A} and the {A} as far as [shown|imaged|covered]",
    " [including|together with] the {A}, where {T} material is seen",
    " at the level of the {A} [bilaterally|on either side|on the right|on the left]",
)

IMPRESSION_NORMAL = (
    "No acute abnormality.",
    "Normal {exam} [examination|study].",
    "No evidence of acute [disease|process].",
    "Unremarkable examination with no acute finding.",
)

IMPRESSION_ENDS = (
    "The findings were [discussed with|communicated to] Dr. {S} [by telephone|at the time of dictation].",
    "Clinical correlation is [advised|recommended].",
    "No other significant abnormality.",
    "Follow up with {T} as clinically indicated.",
    "Dictated by Dr. {S} and electronically signed.",
)

REASONS = ("Follow up.", "Routine [follow up|surveillance].", "[Pre|Post]operative assessment for {T}.")

HEADINGS = {
    "exam": ("EXAM", "EXAMINATION", "PROCEDURE"),
    "reason": ("INDICATION", "HISTORY", "CLINICAL HISTORY", "REASON FOR EXAM"),
    "technique": ("TECHNIQUE",),
    "comparison": ("COMPARISON",),
    "findings": ("FINDINGS",),
    "impression": ("IMPRESSION",),
}
