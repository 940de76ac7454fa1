"""CT examinations: chest, abdomen, head."""

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
_SIDES = {"right": (-0.42, 0.0), "left": (0.42, 0.0)}

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
        "Follow up of {~lung nodules} [seen elsewhere|in a patient on {T}].",
        "Rule out {!pneumonia}.",
    ),
    normals=(
        "The [lungs|lung parenchyma] [are|appear] clear[.| bilaterally.| without suspicious {-lung nodules}.]",
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
                "The airspace opacification is compatible with {?pneumonia}.",
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

ABDOMEN_CT = Exam(
    key="abdomen_ct",
    modality=("CT",),
    body_part="ABDOMEN",
    region="abdomen",
    titles=(
        "CT abdomen and pelvis with contrast",
        "CT of the abdomen and pelvis",
        "Computed tomography of the abdomen without contrast",
        "CT abdomen with oral and intravenous contrast",
    ),
    short="CT",
    series=(
        Series((2, 3, 501), "ABD PEL AXIAL 5.0", windows=((40, 350),)),
        Series((4, 8, 502), "PORTAL VENOUS 3.0", windows=((60, 400), (-600, 1500))),
        Series((6, 1013), "DELAYED AXIAL 2.5", windows=((50, 350),)),
    ),
    last_image=160,
    techniques=(
        "[Axial|Helical] CT of the abdomen and pelvis [with|after] oral contrast [and {ml} mL of {T}|and"
        " intravenous contrast].",
        "Portal venous phase images from the dome of the diaphragm to the symphysis pubis.",
        "[Coronal|Sagittal] reformats at {slice} mm were [created|reviewed] at the workstation.",
    ),
    reasons=(
        "[Abdominal|Right flank|Left flank|Epigastric] pain [for {n} days|with fever|and vomiting].",
        "Rule out {!appendicitis}.",
        "Evaluate for {!kidney stone}.",
        "Elevated liver enzymes[.| on {T}.|, evaluate for {!liver mass}.]",
        "History of {~colon cancer}, [restaging|surveillance].",
        "Hematuria, assess for {!hydronephrosis}.",
    ),
    normals=(
        "The liver [is normal in size and attenuation|enhances homogeneously] without focal abnormality.",
        "No {-liver mass} or biliary dilatation is [seen|identified].",
        "The gallbladder is [unremarkable|normal] without {-gallstones}.",
        "The spleen, pancreas and adrenal glands are [unremarkable|normal].",
        "The kidneys [enhance|excrete] symmetrically without {-hydronephrosis}[.| or {-kidney stone}.]",
        "There is no bowel wall thickening[.| and no {-bowel obstruction}.]",
        "The appendix is [normal|visualized and unremarkable].",
        "There is no {-ascites}[.| or {-pneumoperitoneum}.]",
        "No {-retroperitoneal lymphadenopathy} or {-mesenteric lymphadenopathy}.",
        "The abdominal aorta is normal in caliber with [mild|scattered] plaque.",
        "The urinary bladder is [well distended|decompressed] and [smooth|unremarkable].",
        "The [prostate|uterus and adnexa|pelvic organs] [is|are] unremarkable for age.",
        "Scattered {+diverticulosis} of the sigmoid colon without {-diverticulitis}.",
        "The portal, splenic and superior mesenteric veins are patent.",
        "The stomach and duodenum are [unremarkable|decompressed].",
        "No {-acute cholecystitis} and no pericholecystic fluid.",
        "The visualized lung bases are clear.",
        "Degenerative changes of the lumbar spine are noted.",
        "Small fat-containing umbilical hernia.",
        "The psoas muscles and the abdominal wall are symmetric.",
    ),
    parts=(
        "celiac axis;common bile duct;cystic duct;pancreatic tail;uncinate process;jejunum;"
        "terminal ileum;cecum;hepatic flexure;splenic flexure;rectosigmoid;omentum;"
        "mesenteric root;iliac arteries;inferior vena cava;renal veins;ureters;"
        "seminal vesicles;ovaries;inguinal canals;rectus muscles;ischiorectal fossae;"
        "gastroesophageal junction;lesser sac;falciform ligament"
    ),
    findings=(
        Finding(
            "liver_cyst",
            ("liver cyst", "hepatic cyst"),
            Look("blob", (4.0,), (0.08, 0.14)),
            {"right hepatic lobe": (-0.48, 0.02), "left hepatic lobe": (-0.12, -0.2)},
            ("simple", "well-circumscribed", "low attenuation", "round", "benign"),
            (
                "The {+cyst} is of water attenuation and does not enhance.",
                "The {+F} measures {hu} HU without septation.",
                "Sharp margins and water attenuation indicate a benign {+F}.",
            ),
            ("Benign {+F}, no follow up needed.",),
            (14, 62),
        ),
        Finding(
            "liver_mass",
            ("liver mass", "hepatic mass"),
            Look("ring", (165.0,), (0.12, 0.2), inner=(20.0,)),
            {"right hepatic lobe": (-0.48, 0.02), "left hepatic lobe": (-0.14, -0.2)},
            ("rim enhancing", "heterogeneous", "necrotic", "hypervascular"),
            (
                "The {+mass} shows rim enhancement with a necrotic centre.",
                "Rim enhancement of the {+F} raises concern for {?hepatocellular carcinoma}.",
                "The {+F} displaces the hepatic veins.",
            ),
            ("The {+F} is suspicious for {?liver metastasis}.", "MRI of the {+F} is recommended."),
            (26, 92),
        ),
        Finding(
            "kidney_stone",
            ("kidney stone", "renal calculus", "renal stone"),
            Look("blob", (950.0,), (0.03, 0.05)),
            {"right kidney": (-0.42, 0.27), "left kidney": (0.42, 0.27)},
            ("nonobstructing", "calcified", "dense", "radiopaque"),
            (
                "The {+F} is densely calcified at {hu}0 HU.",
                "Dense calculus material fills a calyx of the kidney.",
                "The calculus does not obstruct the collecting system.",
            ),
            ("{+F}, urology consultation as needed.",),
            (3, 15),
            weight=1.3,
        ),
        Finding(
            "hydronephrosis",
            ("hydronephrosis",),
            Look("organ", (1.0,), (1.5, 1.9), "{side} renal pelvis"),
            {"right kidney": (-0.42, 0.27), "left kidney": (0.42, 0.27)},
            ("moderate", "severe", "marked"),
            (
                "The renal pelvis and calyces are dilated with urine.",
                "Dilated collecting system of the {side} kidney with perinephric stranding.",
                "The ureter is dilated to the pelvic brim.",
            ),
            ("{side} {+F} with dilated renal pelvis.",),
            countable=False,
        ),
        Finding(
            "ascites",
            ("ascites",),
            Look("organ", (1.0,), (0.05, 0.1), "peritoneal fluid"),
            {"abdomen": (0.0, 0.0), "pelvis": (0.0, 0.0), "perihepatic space": (0.0, 0.0)},
            ("large volume", "moderate", "diffuse"),
            (
                "Free fluid surrounds the liver and the spleen.",
                "The bowel loops float in the peritoneal fluid.",
                "Peritoneal fluid tracks along both paracolic gutters.",
            ),
            ("{+F}, likely related to {?cirrhosis}.",),
            countable=False,
        ),
        Finding(
            "aneurysm",
            ("abdominal aortic aneurysm", "infrarenal aortic aneurysm"),
            Look("organ", (1.0,), (2.2, 3.0), "aorta"),
            {"infrarenal aorta": (0.0, 0.2), "abdominal aorta": (0.0, 0.2)},
            ("fusiform", "large", "partially thrombosed"),
            (
                "Mural thrombus lines the aneurysmal lumen without rupture.",
                "The {+F} begins below the renal arteries.",
                "No retroperitoneal {-hematoma} beside the aneurysmal aorta.",
            ),
            ("{+F}, vascular surgery referral is recommended.",),
            (38, 79),
        ),
    ),
    weight=1.2,
)

HEAD_CT = Exam(
    key="head_ct",
    modality=("CT",),
    body_part="HEAD",
    region="head",
    titles=("CT head without contrast", "CT of the head", "Noncontrast head CT", "CT brain without contrast"),
    short="CT",
    series=(
        Series((2, 3), "HEAD AXIAL 5.0 H31s", windows=((35, 80),)),
        Series((4, 203), "HEAD BONE 2.5 H60s", windows=((40, 80), (500, 2500))),
    ),
    last_image=48,
    techniques=(
        "[Contiguous|Sequential] axial images of the head were [obtained|acquired] from the skull base to the"
        " vertex without contrast.",
        "Noncontrast head CT with {slice} mm sections [and bone algorithm|parallel to the orbitomeatal line].",
    ),
    reasons=(
        "[Headache|Altered mental status|Dizziness|Syncope|Confusion] [since {n} days|after fall|on {T}].",
        "Trauma, evaluate for {!intracranial hemorrhage}.",
        "[Left|Right] sided weakness, rule out {!ischemic stroke}.",
        "Fall from standing height on anticoagulation, assess for {!skull fracture}.",
        "History of {~subdural hematoma}, follow up.",
    ),
    normals=(
        "There is no acute {-intracranial hemorrhage}[.| or extra-axial collection.]",
        "The ventricles and sulci are normal in size and configuration for age.",
        "The gray-white matter differentiation is [preserved|maintained].",
        "No {-mass effect}[.| or {-midline shift}.]",
        "There is no {-skull fracture}[.| and the calvarium is intact.]",
        "The basal cisterns are [patent|open].",
        "The [visualized|imaged] paranasal sinuses and mastoid air cells are clear.",
        "The orbits and globes are [intact|unremarkable].",
        "Mild periventricular hypodensity compatible with chronic microvascular change.",
        "No loss of the insular ribbon and no hyperdense vessel to suggest {-acute infarct}.",
        "The sella and the craniocervical junction are unremarkable.",
        "Age appropriate {+volume loss} is [noted|seen].",
        "No {-hydrocephalus} is [seen|present].",
        "The brainstem and cerebellum are [unremarkable|normal in attenuation].",
        "Soft tissues of the scalp are [unremarkable|normal].",
        "Carotid siphon vessel wall plaque is noted.",
    ),
    parts=(
        "fourth ventricle;quadrigeminal cistern;suprasellar cistern;foramen magnum;"
        "pineal region;choroid plexus;thalami;internal capsules;caudate nuclei;"
        "lentiform nuclei;cerebellar hemispheres;vermis;pons;frontal sinuses;sphenoid sinus;"
        "petrous apices;zygomatic arches;nasal bones;optic canals;lacrimal glands;"
        "temporomandibular joints;falx;tentorium;vertex;occipital condyles"
    ),
    findings=(
        Finding(
            "hemorrhage",
            ("intraparenchymal hemorrhage", "intracerebral hemorrhage"),
            Look("ring", (14.0,), (0.13, 0.2), inner=(76.0,)),
            {
                "right basal ganglia": (-0.24, -0.05),
                "left basal ganglia": (0.24, -0.05),
                "right parietal lobe": (-0.3, 0.3),
                "left parietal lobe": (0.3, 0.3),
            },
            ("acute", "hyperdense", "large"),
            (
                "The hyperdense bleed is surrounded by a rim of {+vasogenic edema}.",
                "The {+F} compresses the adjacent lateral ventricle.",
                "Hyperdense blood measures {hu} HU.",
            ),
            ("Acute {+F}, neurosurgery was notified.",),
            (18, 55),
            weight=1.3,
        ),
        Finding(
            "subdural",
            ("subdural hematoma", "subdural hemorrhage"),
            Look("crescent", (70.0,), (0.16, 0.26), "brain"),
            {"right convexity": (-0.3, 0.0), "left convexity": (0.3, 0.0)},
            ("acute", "crescentic", "hyperdense", "holohemispheric"),
            (
                "The crescentic collection effaces the underlying sulci.",
                "Crescentic extra-axial blood follows the {side} convexity.",
                "There is [mild|moderate] {+midline shift} from the crescentic collection.",
            ),
            ("{+F} along the {place}.",),
            (6, 22),
        ),
        Finding(
            "infarct",
            ("cerebral infarct", "cerebral infarction"),
            Look("wedge", (14.0,), (0.28, 0.4)),
            {
                "right middle cerebral artery territory": (-0.42, 0.0),
                "left middle cerebral artery territory": (0.42, 0.0),
                "right occipital lobe": (-0.2, 0.48),
                "left occipital lobe": (0.2, 0.48),
            },
            ("subacute", "large territorial", "hypodense", "wedge-shaped"),
            (
                "Wedge-shaped hypodensity involves cortex and white matter.",
                "Loss of differentiation and sulcal effacement accompany the {+F}.",
                "No hemorrhagic conversion of the ischemic territory.",
            ),
            ("{+F} in the {place}, MRI with diffusion is advised.",),
        ),
        Finding(
            "hydrocephalus",
            ("hydrocephalus",),
            Look("organ", (1.0,), (1.6, 2.0), "ventricles"),
            {"lateral ventricles": (0.0, 0.0), "ventricular system": (0.0, 0.0)},
            ("marked", "communicating", "moderate"),
            (
                "The lateral ventricles are markedly dilated out of proportion to the sulci.",
                "Ventricular dilatation with rounding of the frontal horns.",
                "Periventricular lucency suggests transependymal flow.",
            ),
            ("Dilated ventricles consistent with {+F}.",),
            countable=False,
        ),
        Finding(
            "fracture",
            ("skull fracture", "calvarial fracture"),
            Look("gap", (60.0,), (0.02, 0.03), "skull"),
            {
                "right temporal bone": (-0.66, 0.05),
                "left temporal bone": (0.66, 0.05),
                "right frontal bone": (-0.4, -0.62),
                "left frontal bone": (0.4, -0.62),
            },
            ("displaced", "linear", "comminuted"),
            (
                "The {+fracture} line crosses both tables of the calvarium with scalp swelling.",
                "Overlying scalp {+soft tissue swelling} at the calvarial defect.",
                "Calvarial fragments are displaced by {n} mm.",
            ),
            ("{+F} of the {place}.",),
        ),
    ),
    weight=1.2,
)
