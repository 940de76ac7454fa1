"""Chest examinations: CT and frontal radiograph. CT is in HU, density of a radiograph runs from 0 to 1."""

from __future__ import annotations

from radfast.synthetic.exams import Exam, Finding, Look, Series

_LOBES = {
    "right upper lobe": (-0.44, -0.2),
    "left upper lobe": (0.46, -0.2),
    "right lower lobe": (-0.44, 0.22),
    "left lower lobe": (0.46, 0.22),
    "right middle lobe": (-0.33, 0.0),
    "lingula": (0.5, 0.0),
}
_SIDES = {"right pleural space": (-0.42, 0.0), "left pleural space": (0.42, 0.0)}

CHEST_CT = Exam(
    key="chest_ct",
    modality=("CT",),
    body_part="CHEST",
    region="chest",
    titles=(
        "CT chest with contrast",
        "CT of the chest without contrast",
        "CT thorax",
        "Computed tomography of the chest with intravenous contrast",
    ),
    short="CT",
    series=(
        Series((2, 3, 201), "CHEST AXIAL 5.0 B30f", windows=((40, 400),)),
        Series((4, 5, 301), "LUNG AXIAL 1.25 B70f", windows=((-600, 1500), (40, 400))),
        Series((6, 7, 1001), "CHEST THIN 1.0", windows=((-500, 1400),)),
    ),
    last_image=120,
    techniques=(
        "[Axial|Helical|Contiguous] CT images of the chest were [obtained|acquired] from the [thoracic inlet|"
        "lung apices] to the [adrenal glands|upper abdomen][.| after intravenous administration of {ml} mL of"
        " {T}.]",
        "[Multidetector|Thin-section] CT of the thorax with {slice} mm [collimation|reconstructions].",
        "[Lung|Soft tissue|Mediastinal] and bone windows were [reviewed|evaluated] with [coronal|sagittal]"
        " reformats.",
    ),
    reasons=(
        "[Cough|Shortness of breath|Dyspnea|Hemoptysis|Chest pain] [for {n} weeks|since {T} treatment|and"
        " weight loss].",
        "Evaluate for {!pulmonary embolism}.",
        "History of {~lung cancer}, status post [lobectomy|chemotherapy|radiation].",
        "Smoker with {n} pack years, [screening|surveillance] for {!lung cancer}.",
        "History of {~lung nodules} [seen elsewhere|in a patient on {T}].",
        "Rule out {!pneumonia}.",
    ),
    normals=(
        "The [lungs|lung parenchyma] [are|appear] clear[.| bilaterally.| without suspicious {-lung"
        " nodules}.]",
        "There is no {-pleural effusion}[.| or {-pneumothorax}.]",
        "No [focal|dense] {-consolidation} is [seen|identified|present] in either lung.",
        "The [central airways|trachea and main bronchi] are patent[.| to the segmental level.]",
        "The heart is normal in size without {-pericardial effusion}.",
        "No [enlarged|pathologic] mediastinal, hilar or axillary nodes are [seen|identified].",
        "There is no {-mediastinal lymphadenopathy}[.| or {-hilar lymphadenopathy}.]",
        "The thoracic aorta is normal in caliber [without dissection|with mild atherosclerotic change].",
        "The pulmonary arteries [opacify well|are normal in caliber] without filling defect.",
        "No {-pulmonary embolism} is [seen|identified] to the level of the segmental branches.",
        "The [esophagus|thyroid gland|thymic bed] is unremarkable.",
        "The [visualized|imaged] upper abdomen shows [no acute abnormality|an unremarkable adrenal gland].",
        "[Mild|Minimal|Slight] dependent {+atelectasis} is [noted|present] at the lung bases.",
        "Degenerative changes are [noted|seen] in the thoracic spine.",
        "The [chest wall|axillae|osseous thorax] and soft tissues are [unremarkable|normal].",
        "Scattered {+coronary artery calcification} is [noted|again seen] in the left anterior descending"
        " artery.",
        "The bronchial walls are not thickened and there is no {-bronchiectasis}.",
        "[Central venous catheter|Right chest port] terminates in the superior vena cava.",
        "No suspicious lytic or blastic change of the ribs or sternum.",
        "The diaphragm and the pleural surfaces are smooth.",
    ),
    parts=(
        "azygos vein;superior vena cava;left atrium;right ventricle;pulmonary veins;carina;"
        "bronchus intermedius;lingular bronchus;subclavian arteries;innominate artery;"
        "aortic arch;costal cartilages;manubrium;scapulae;pectoral muscles;"
        "paraspinal soft tissues;interlobar fissures;subcarinal region;aortopulmonary window;"
        "adrenal glands;hiatus;internal mammary chains;supraclavicular fossae;"
        "thoracic duct region;pericardial recesses"
    ),
    findings=(
        Finding(
            "nodule",
            ("lung nodule", "pulmonary nodule"),
            Look("blob", (60.0,), (0.045, 0.07)),
            _LOBES,
            ("solid", "well-defined", "noncalcified", "round", "small", "subpleural"),
            (
                "The {+nodule} has [smooth|lobulated] margins and no internal fat.",
                "The {+F} is [solid|round] and surrounded by aerated lung.",
                "No cavitation of the {+nodule} is seen.",
            ),
            ("[Recommend|Suggest] follow up CT of the {+F} in {n} months.",),
            (4, 14),
            weight=1.6,
        ),
        Finding(
            "mass",
            ("lung mass", "pulmonary mass"),
            Look("spiculated", (55.0,), (0.13, 0.19)),
            _LOBES,
            ("spiculated", "large", "irregular", "lobulated", "heterogeneous"),
            (
                "The {+mass} is spiculated and [abuts|invades|contacts] the pleura.",
                "The {+F} is suspicious for {?lung cancer}.",
                "Spiculated margins of the {+mass} extend into the surrounding parenchyma.",
            ),
            (
                "The {+F} is concerning for {?bronchogenic carcinoma}.",
                "Tissue sampling of the {+F} is advised.",
            ),
            (31, 84),
        ),
        Finding(
            "effusion",
            ("pleural effusion", "pleural fluid"),
            Look("level", (10.0,), (0.3, 0.6), "{side} lung"),
            {"right hemithorax": (-0.42, 0.3), "left hemithorax": (0.42, 0.3)},
            ("large", "moderate", "layering", "dependent", "free-flowing"),
            (
                "Fluid layers dependently in the pleural space with adjacent compressive {+atelectasis}.",
                "The {+F} has simple fluid attenuation.",
                "The fluid measures {hu} HU and is not loculated.",
            ),
            ("[Large|Moderate|Layering] {+F} of the {side} hemithorax.",),
            weight=1.4,
        ),
        Finding(
            "pneumothorax",
            ("pneumothorax",),
            Look("crescent", (-1000.0,), (0.16, 0.28), "{side} lung"),
            _SIDES | {"right apex": (-0.42, -0.3), "left apex": (0.42, -0.3)},
            ("moderate", "anterior", "large", "small"),
            (
                "The visceral pleural line is displaced from the chest wall.",
                "Air in the pleural space collapses the {side} lung.",
                "There is no mediastinal displacement from the {+F}.",
            ),
            ("{side} {+F}, chest tube placement should be considered.",),
        ),
        Finding(
            "consolidation",
            ("consolidation", "airspace consolidation"),
            Look("haze", (700.0,), (0.2, 0.3)),
            _LOBES,
            ("dense", "patchy", "confluent", "segmental"),
            (
                "Air bronchograms run through the {+F}.",
                "The airspace opacification is suspicious for {?pneumonia}.",
                "Surrounding ground-glass opacity fades into the parenchyma.",
            ),
            ("{+F} of the {place}, probably {?pneumonia}.",),
            weight=1.3,
        ),
        Finding(
            "emphysema",
            ("emphysema", "centrilobular emphysema"),
            Look("holes", (-985.0,), (0.03, 0.07), "{side} lung"),
            {"right lung": (-0.42, -0.1), "left lung": (0.42, -0.1)},
            ("severe", "bullous", "upper lobe predominant", "extensive"),
            (
                "Large bullae and low attenuation areas replace the parenchyma.",
                "The bullous change is in keeping with {+chronic obstructive pulmonary disease}.",
                "Bullae are separated by thin walls.",
            ),
            ("Bullous {+F}.",),
            countable=False,
        ),
    ),
    weight=1.3,
)

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
