"""Radiographs: frontal chest, hand. Densities run from 0 (air) to 1 (metal)."""

from __future__ import annotations

from radfast.synthetic.exams import Exam, Finding, Look, Series

_ZONES = {
    "right upper lobe": (-0.4, -0.35),
    "left upper lobe": (0.4, -0.35),
    "right lower lobe": (-0.42, 0.22),
    "left lower lobe": (0.5, 0.16),
    "right midlung": (-0.42, -0.05),
    "left midlung": (0.46, -0.08),
}

CHEST_XR = Exam(
    key="chest_xr",
    modality=("CR", "DX"),
    body_part="CHEST",
    region="chest",
    titles=("Chest radiograph, PA and lateral", "Portable AP chest", "Chest x-ray, frontal view", "XR chest"),
    short="radiograph",
    series=(Series((1,), "CHEST PA"), Series((2,), "CHEST AP PORTABLE")),
    last_image=3,
    techniques=(
        "[PA and lateral|Single frontal|Portable AP] view[s|] of the chest.",
        "Portable technique at the bedside in [semi-erect|supine] position.",
    ),
    reasons=(
        "[Cough|Fever|Dyspnea|Chest pain] [for {n} days|after {T}].",
        "Rule out {!pneumonia}.",
        "Line placement, evaluate for {!pneumothorax}.",
        "History of {~asthma} with wheezing.",
        "Preoperative chest radiograph for {T}.",
    ),
    normals=(
        "The cardiomediastinal silhouette is [normal|within normal limits].",
        "The lungs are clear[.| without {-consolidation}.]",
        "No {-pleural effusion} or {-pneumothorax}.",
        "The [osseous structures|bony thorax and clavicles] are [intact|unremarkable].",
        "The trachea is midline.",
        "Pulmonary vascularity is [normal|not congested].",
        "The hemidiaphragms are [smooth|sharply defined] and the costophrenic angles are sharp.",
        "No free air under the diaphragm.",
        "The hilar contours are [normal|symmetric].",
        "The aortic knob is [calcified|tortuous].",
        "Endotracheal tube tip projects {n} cm above the carina.",
        "A nasogastric tube courses below the diaphragm.",
        "No {-pulmonary edema} is [seen|present].",
        "Degenerative endplate spurring of the thoracic spine.",
        "No acute {-rib fracture}.",
    ),
    parts=(
        "azygos contour;paratracheal stripe;cardiophrenic angles;retrocardiac region;"
        "retrosternal space;minor fissure;left atrial appendage;pulmonary artery segment;"
        "descending aorta;scapular margins;humeral heads;upper abdomen;gastric bubble;"
        "thoracic inlet;lung apices;peripheral vessels;acromioclavicular joints;"
        "mediastinal lines;breast shadows;spinous processes"
    ),
    findings=(
        Finding(
            "pneumonia",
            ("pneumonia", "lobar pneumonia"),
            Look("haze", (0.34,), (0.22, 0.3)),
            _ZONES,
            ("dense", "patchy", "focal"),
            (
                "Airspace shadowing with air bronchograms obscures the vessels.",
                "The opacity silhouettes the adjacent border.",
                "The airspace shadowing represents {+F}.",
            ),
            ("{place} {+F}, follow up to clearing is advised.",),
            countable=False,
            weight=1.5,
        ),
        Finding(
            "effusion",
            ("pleural effusion", "pleural fluid"),
            Look("level", (0.74,), (0.3, 0.55), "{side} lung"),
            {"right costophrenic angle": (-0.42, 0.3), "left costophrenic angle": (0.42, 0.3)},
            ("moderate", "large", "blunting"),
            (
                "The costophrenic angle is blunted with a meniscus.",
                "The {+F} obscures the {side} hemidiaphragm.",
                "Blunting of the costophrenic sulcus is evident.",
            ),
            ("{side} {+F} with blunted costophrenic angle.",),
            weight=1.3,
        ),
        Finding(
            "pneumothorax",
            ("pneumothorax",),
            Look("crescent", (0.06,), (0.16, 0.26), "{side} lung"),
            {"right apex": (-0.42, -0.3), "left apex": (0.42, -0.3)},
            ("apical", "large", "tension"),
            (
                "A thin visceral line without lung markings beyond it is seen.",
                "Absent lung markings peripheral to the visceral line.",
                "The {side} lung is partly collapsed.",
            ),
            ("{side} apical {+F}, the team was called.",),
        ),
        Finding(
            "cardiomegaly",
            ("cardiomegaly", "enlarged heart", "cardiac enlargement"),
            Look("organ", (1.0,), (1.45, 1.75), "heart"),
            {"cardiac silhouette": (0.1, 0.1), "mediastinum": (0.1, 0.1)},
            ("marked", "moderate", "globular"),
            (
                "The cardiothoracic ratio is widened beyond 0.{n}5.",
                "Globular widening of the cardiac shadow.",
                "The widened cardiac shadow reaches the lateral wall.",
            ),
            ("{+F} with widened cardiothoracic ratio.",),
            countable=False,
            weight=1.2,
        ),
        Finding(
            "mass",
            ("lung mass", "pulmonary mass"),
            Look("blob", (0.78,), (0.11, 0.15)),
            _ZONES,
            ("rounded", "cavitary", "lobulated"),
            (
                "The rounded density has lobulated borders.",
                "The {+mass} is new and not calcified.",
                "A rounded {+F} projects over the ribs.",
            ),
            ("{+F} in the {place}, CT of the chest is recommended.",),
            (31, 70),
        ),
    ),
    weight=1.5,
    whole=True,
)

_DIGITS = {
    "index finger": (-0.25, -0.52),
    "long finger": (0.0, -0.6),
    "ring finger": (0.24, -0.52),
    "small finger": (0.47, -0.34),
}
_METACARPALS = {"second metacarpal": (-0.17, -0.02), "fifth metacarpal": (0.31, 0.04)}

BONE_XR = Exam(
    key="bone_xr",
    modality=("DX", "CR"),
    body_part="HAND",
    region="hand",
    titles=("XR hand, three views", "Hand radiograph", "Right hand, AP and oblique views", "Left hand x-ray"),
    short="radiograph",
    series=(Series((1,), "HAND PA"), Series((2,), "HAND OBLIQUE")),
    last_image=3,
    techniques=(
        "[PA, oblique and lateral|Three|Two] views of the hand.",
        "[Collimated|Digital] views of the hand and wrist.",
    ),
    reasons=(
        "[Pain|Swelling|Injury] of the hand [for {n} days|after a fall|after a crush].",
        "Rule out {!fracture}.",
        "Laceration, evaluate for {!foreign body}.",
        "Rheumatoid disease on {T}, evaluate for {!bone erosions}.",
    ),
    normals=(
        "The carpal alignment is [maintained|anatomic].",
        "The joint spaces are [preserved|maintained].",
        "There is no acute {-fracture}[.| or {-dislocation}.]",
        "Bone mineralization is [normal|age appropriate].",
        "The scaphoid and lunate are [intact|normally aligned].",
        "The distal radius and ulna are [intact|unremarkable].",
        "No {-bone erosion} or periosteal reaction.",
        "The interphalangeal and metacarpophalangeal joints are [congruent|normally aligned].",
        "Overlying cast material is not present.",
        "No {-osteomyelitis} by radiography.",
        "Mild {+osteopenia} is [noted|seen].",
        "The thumb base shows minimal spurring.",
        "No {-radiopaque foreign body}.",
    ),
    parts=(
        "hamate hook;capitate;trapezium;trapezoid;triquetrum;pisiform;ulnar styloid;"
        "radial styloid;sesamoids;proximal phalanges;middle phalanges;distal tufts;"
        "carpometacarpal joints;radiocarpal joint;distal radioulnar joint;metacarpal heads;"
        "metacarpal bases;nail beds;thumb web;physeal scars"
    ),
    findings=(
        Finding(
            "fracture",
            ("fracture", "phalangeal fracture"),
            Look("break", (0.3,), (0.1, 0.13), inner=(0.07,)),
            _DIGITS,
            ("transverse", "displaced", "comminuted", "oblique"),
            (
                "The {+fracture} line is displaced by {n} mm with dorsal angulation.",
                "Cortical disruption with displaced fragments of the phalanx.",
                "The {+fracture} does not reach the articular surface.",
            ),
            ("Displaced {+F} of the {place}.",),
            weight=1.5,
        ),
        Finding(
            "metacarpal_fracture",
            ("metacarpal fracture", "boxer fracture"),
            Look("break", (0.3,), (0.1, 0.13), inner=(0.07,)),
            _METACARPALS,
            ("angulated", "impacted", "spiral"),
            (
                "Volar angulation of the metacarpal neck of {n} degrees.",
                "The metacarpal shaft is angulated at the {+F}.",
                "Angulated metacarpal fragments with dorsal {+soft tissue swelling}.",
            ),
            ("Angulated {+F}.",),
        ),
        Finding(
            "bone_cyst",
            ("bone cyst", "unicameral bone cyst"),
            Look("ring", (0.7,), (0.07, 0.09), inner=(0.34,)),
            _DIGITS | _METACARPALS,
            ("lucent", "expansile", "geographic"),
            (
                "The lucent area has a thin sclerotic rim and cortical thinning.",
                "Expansile lucency with a sclerotic rim suggests a {+bone cyst}.",
                "No matrix is seen within the lucency.",
            ),
            ("Lucent {+F} of the {place}.",),
            (6, 19),
        ),
        Finding(
            "foreign_body",
            ("foreign body", "radiopaque foreign body"),
            Look("needle", (1.0,), (0.07, 0.12)),
            {
                "thenar soft tissues": (-0.45, 0.15),
                "hypothenar soft tissues": (0.5, 0.2),
                "first web space": (-0.4, -0.2),
            },
            ("metallic", "linear", "retained"),
            (
                "The metallic density lies {n} mm below the skin.",
                "The linear metallic {+F} has not reached bone.",
                "Metallic fragments are seen on both views.",
            ),
            ("Metallic {+F} in the {place}.",),
            (3, 21),
        ),
        Finding(
            "swelling",
            ("soft tissue swelling",),
            Look("swelling", (0.36,), (0.2, 0.27)),
            {
                "index finger": (-0.28, -0.4),
                "small finger": (0.5, -0.25),
                "ulnar border of the hand": (0.52, 0.1),
            },
            ("marked", "fusiform", "diffuse"),
            (
                "Fusiform thickening of the soft tissues without gas.",
                "The thickened soft tissues spare the joint.",
                "Diffuse thickening about the digit.",
            ),
            ("{+F} about the {place}.",),
            countable=False,
        ),
    ),
    weight=1.0,
    whole=True,
)
