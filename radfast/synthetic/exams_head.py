"""Head examinations: CT in HU, MR in signal of T1 and T2 weighted pictures."""

from __future__ import annotations

from radfast.synthetic.exams import Exam, Finding, Look, Series

_LOBES = {
    "right frontal lobe": (-0.25, -0.42),
    "left frontal lobe": (0.25, -0.42),
    "right temporal lobe": (-0.42, 0.02),
    "left temporal lobe": (0.42, 0.02),
    "right parietal lobe": (-0.28, 0.38),
    "left parietal lobe": (0.28, 0.38),
}

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
        "Noncontrast head CT with {slice} mm sections [and bone algorithm|parallel to the orbitomeatal"
        " line].",
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

BRAIN_MR = Exam(
    key="brain_mr",
    modality=("MR",),
    body_part="BRAIN",
    region="head",
    titles=(
        "MRI brain with and without contrast",
        "MRI of the brain",
        "MR brain without gadolinium",
        "Magnetic resonance imaging of the brain with gadolinium",
    ),
    short="MRI",
    series=(
        Series((2, 3), "AX T1 SE", 0),
        Series((5, 6, 8), "AX T2 TSE", 1),
        Series((7, 9), "AX T1 POST GAD", 0),
        Series((11, 17), "AX T2 FS", 1),
    ),
    last_image=40,
    techniques=(
        "Multiplanar, multisequence MRI of the brain [before and after|without] {ml} mL of {T}.",
        "Sagittal T1, axial T2, FLAIR, gradient echo and diffusion weighted sequences were"
        " [obtained|acquired].",
        "Imaging was performed at [1.5|3] Tesla with {slice} mm sections[.| and a gap of 0.5 mm.]",
    ),
    reasons=(
        "[Headache|Seizure|Visual changes|Gait disturbance|Memory loss] [for {n} months|on {T}].",
        "Rule out {!multiple sclerosis}.",
        "History of {~breast cancer}, evaluate for {!brain metastasis}.",
        "[Numbness|Weakness] of the [left|right] arm, evaluate for {!ischemic stroke}.",
        "Status post resection of {~glioma}[.| and {T}.]",
    ),
    normals=(
        "There is no restricted diffusion to suggest {-acute infarct}.",
        "The ventricles and sulci are [normal in size|age appropriate] on all sequences.",
        "No abnormal [parenchymal|leptomeningeal] enhancement after gadolinium.",
        "There is no {-mass effect}[.| or {-midline shift}.]",
        "The flow voids of the major intracranial vessels are [preserved|maintained].",
        "The pituitary gland and the infundibulum are normal without {-pituitary adenoma}.",
        "The corpus callosum and the cerebellar tonsils are [normal in position|unremarkable].",
        "No susceptibility artifact to suggest {-hemorrhage} on gradient echo.",
        "The internal auditory canals are [symmetric|unremarkable].",
        "Few punctate foci of T2 signal in the white matter are nonspecific.",
        "Mild mucosal thickening of the ethmoid air cells without {-sinusitis}.",
        "The hippocampi are symmetric in size and signal.",
        "There is no {-hydrocephalus}.",
        "The orbits, optic nerves and chiasm are [unremarkable|normal].",
        "Marrow signal of the calvarium and clivus is normal.",
        "No {-cerebral aneurysm} on the time of flight angiogram.",
    ),
    parts=(
        "cingulate gyri;insular cortex;hypothalamus;mammillary bodies;cerebral peduncles;"
        "medulla;cavernous sinuses;Meckel caves;basilar artery;vertebral arteries;"
        "transverse sinuses;superior sagittal sinus;septum pellucidum;fornix;dentate nuclei;"
        "substantia nigra;centrum semiovale;corona radiata;subcortical U fibers;"
        "trigeminal nerves;facial nerves;cochleae;semicircular canals;pituitary stalk;"
        "parahippocampal gyri"
    ),
    findings=(
        Finding(
            "glioma",
            ("glioma", "glioblastoma"),
            Look("ring", (880.0, 560.0), (0.17, 0.25), inner=(230.0, 960.0)),
            _LOBES,
            ("infiltrating", "necrotic", "heterogeneously enhancing", "expansile"),
            (
                "The {+F} crosses white matter tracts with surrounding {+vasogenic edema}.",
                "Thick nodular enhancement surrounds a necrotic centre.",
                "Perfusion is elevated within the infiltrating tumor.",
            ),
            ("{+F} of the {place} with necrosis.",),
            (25, 68),
        ),
        Finding(
            "meningioma",
            ("meningioma",),
            Look("blob", (900.0, 500.0), (0.13, 0.19)),
            {
                "right frontal convexity": (-0.4, -0.5),
                "left frontal convexity": (0.4, -0.5),
                "right parietal convexity": (-0.48, 0.42),
                "left parietal convexity": (0.48, 0.42),
            },
            ("extra-axial", "dural-based", "homogeneously enhancing"),
            (
                "A dural tail extends from the extra-axial {+F}.",
                "The extra-axial {+F} is isointense to cortex.",
                "Buckling of the cortex confirms the dural-based origin.",
            ),
            ("Dural-based {+F} along the {place}.",),
            (12, 48),
        ),
        Finding(
            "metastases",
            ("brain metastases", "cerebral metastases"),
            Look("cluster", (880.0, 860.0), (0.035, 0.06)),
            {"both cerebral hemispheres": (0.0, 0.0), "supratentorial brain": (0.0, -0.05)},
            ("multiple", "scattered", "innumerable"),
            (
                "The largest of the enhancing deposits lies at the gray-white junction.",
                "Enhancing {+F} show spotty surrounding {+edema}.",
                "At least {n} enhancing deposits are counted.",
            ),
            ("Multiple enhancing {+F}.",),
            countable=False,
        ),
        Finding(
            "plaques",
            ("demyelinating plaques", "white matter plaques"),
            Look("ovals", (330.0, 930.0), (0.03, 0.055)),
            {"periventricular white matter": (0.0, 0.0), "pericallosal white matter": (0.0, -0.05)},
            ("ovoid", "multiple", "confluent"),
            (
                "Ovoid foci are oriented perpendicular to the ventricles.",
                "Callososeptal ovoid {+F} are typical of {+multiple sclerosis}.",
                "None of the ovoid foci enhances after gadolinium.",
            ),
            ("Ovoid {+F} suspicious for {?multiple sclerosis}.",),
            countable=False,
            weight=1.3,
        ),
        Finding(
            "infarct",
            ("acute infarct", "cerebral infarction"),
            Look("wedge", (300.0, 900.0), (0.28, 0.4)),
            {
                "right middle cerebral artery territory": (-0.42, 0.0),
                "left middle cerebral artery territory": (0.42, 0.0),
                "right posterior cerebral artery territory": (-0.2, 0.48),
                "left posterior cerebral artery territory": (0.2, 0.48),
            },
            ("embolic", "territorial", "gyriform"),
            (
                "Restricted diffusion with low apparent diffusion coefficient marks the {+F}.",
                "Gyral swelling accompanies the restricted diffusion.",
                "The ischemic territory shows no petechial blood.",
            ),
            ("{+F} in the {place} with restricted diffusion.",),
        ),
    ),
    weight=1.1,
)
