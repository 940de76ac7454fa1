"""MR examinations: brain, spine, knee. Signals are for T1 and T2 weighted pictures."""

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
        "Sagittal T1, axial T2, FLAIR, gradient echo and diffusion weighted sequences were [obtained|acquired].",
        "Imaging was performed at [1.5|3] Tesla with {slice} mm sections[.| and a gap of 0.5 mm.]",
    ),
    reasons=(
        "[Headache|Seizure|Visual changes|Gait disturbance|Memory loss] [for {n} months|on {T}].",
        "Rule out {!multiple sclerosis}.",
        "History of {~breast cancer}, evaluate for {!brain metastasis}.",
        "[Numbness|Weakness] of the [left|right] arm, evaluate for {!ischemic stroke}.",
        "Follow up of treated {~glioma}.",
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
            ("Ovoid {+F} compatible with {?multiple sclerosis}.",),
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

_DISCS = {"L2-3": (0.0, -0.28), "L3-4": (0.0, 0.0), "L4-5": (0.0, 0.28), "L5-S1": (0.0, 0.56)}
_VERTEBRAE = {"L1": (0.0, -0.7), "L2": (0.0, -0.42), "L3": (0.0, -0.14), "L4": (0.0, 0.14), "L5": (0.0, 0.42)}

SPINE_MR = Exam(
    key="spine_mr",
    modality=("MR",),
    body_part="LSPINE",
    region="spine",
    titles=(
        "MRI lumbar spine without contrast",
        "MRI of the lumbar spine",
        "MR lumbosacral spine with and without gadolinium",
    ),
    short="MRI",
    series=(
        Series((2, 4), "SAG T1 FSE", 0),
        Series((3, 5, 6), "SAG T2 FSE", 1),
        Series((8, 16), "SAG T2 FS", 1),
    ),
    last_image=24,
    techniques=(
        "Sagittal T1, sagittal T2 and axial T2 images of the lumbar spine were [obtained|acquired].",
        "Multiplanar MRI of the lumbosacral spine with {slice} mm slices[.| and fat saturation.]",
        "Sagittal STIR images were added[.| because of {T}.]",
    ),
    reasons=(
        "[Low back pain|Sciatica|Left leg radiculopathy|Right leg radiculopathy] [for {n} weeks|not responding"
        " to {T}].",
        "Evaluate for {!disc herniation}.",
        "Neurogenic claudication, rule out {!spinal stenosis}.",
        "History of {~prostate cancer} with new back pain.",
        "Fall, evaluate for {!compression fracture}.",
    ),
    normals=(
        "The conus medullaris terminates at L1 and is normal in signal.",
        "Vertebral body heights and alignment are [maintained|preserved] without {-spondylolisthesis}.",
        "The marrow signal is [normal|mildly heterogeneous] without {-vertebral metastases}.",
        "At L1-2 there is no disc bulge or {-foraminal stenosis}.",
        "At L2-3 there is mild facet arthropathy without {-spinal stenosis}.",
        "At L3-4 a shallow bulge [minimally flattens the thecal sac|is without nerve root contact].",
        "The cauda equina nerve roots are [normal in distribution|not clumped].",
        "There is no {-compression fracture} of the lumbar spine.",
        "The paraspinal muscles are [symmetric|mildly atrophic].",
        "Facet joints show [mild|moderate] hypertrophy with ligamentum flavum thickening.",
        "No {-discitis} or epidural collection is [seen|identified].",
        "The sacroiliac joints are [unremarkable|preserved].",
        "Multilevel {+spondylosis} with disc desiccation.",
        "Schmorl nodes are [noted|seen] at the thoracolumbar junction.",
        "Endplate signal change of Modic type [1|2] at the lower levels.",
    ),
    parts=(
        "interspinous ligaments;posterior longitudinal ligament;epidural fat;lateral recesses;"
        "pedicles;laminae;transverse processes;multifidus muscles;iliopsoas;sacral ala;"
        "sacral nerve roots;filum terminale;annular fibers;nucleus pulposus;"
        "pars interarticularis;spinous processes;prevertebral soft tissues;thecal sac;"
        "dorsal root ganglia;anterior longitudinal ligament"
    ),
    findings=(
        Finding(
            "disc_herniation",
            ("disc herniation", "herniated disc", "disc extrusion"),
            Look("blob", (420.0, 260.0), (0.1, 0.14), organ="posterior disc"),
            _DISCS,
            ("central", "paracentral", "large", "broad-based"),
            (
                "The {+F} indents the thecal sac and contacts the traversing nerve root.",
                "Extruded disc material migrates behind the vertebral body.",
                "The annulus is torn with extruded nucleus in the canal.",
            ),
            ("{+F} at {place} with nerve root contact.",),
            (4, 12),
            weight=1.6,
        ),
        Finding(
            "compression_fracture",
            ("compression fracture", "vertebral compression fracture"),
            Look("organ", (1.0,), (0.4, 0.55), "vertebra"),
            _VERTEBRAE,
            ("acute", "anterior wedge", "osteoporotic"),
            (
                "Vertebral height loss of {percent} percent with increased fluid signal.",
                "The superior endplate is collapsed without retropulsion.",
                "Height loss of the wedged vertebral body is greatest anteriorly.",
            ),
            ("{+F} of {place} with height loss.",),
        ),
        Finding(
            "metastasis",
            ("vertebral metastasis", "osseous metastasis"),
            Look("blob", (150.0, 900.0), (0.09, 0.12)),
            _VERTEBRAE,
            ("T1 hypointense", "enhancing", "destructive"),
            (
                "Low T1 signal replaces the marrow of the vertebral body.",
                "Marrow replacement by the {+F} extends into the pedicle.",
                "There is no epidural extension of the replaced marrow.",
            ),
            ("{+F} at {place} with marrow replacement.",),
            (9, 28),
        ),
        Finding(
            "stenosis",
            ("spinal stenosis", "spinal canal stenosis"),
            Look("organ", (1.0,), (0.15, 0.3), "canal"),
            _DISCS,
            ("severe", "multifactorial", "high-grade"),
            (
                "The thecal sac is narrowed to {n} mm by facet and ligamentum hypertrophy.",
                "Cerebrospinal fluid is effaced around crowded nerve roots.",
                "Crowding of the cauda equina at the narrowed level.",
            ),
            ("Severe {+F} at {place} with narrowed thecal sac.",),
            countable=False,
        ),
        Finding(
            "spondylolisthesis",
            ("spondylolisthesis", "anterolisthesis"),
            Look("organ", (1.0,), (0.09, 0.15), "slip"),
            _DISCS,
            ("grade 1", "grade 2", "degenerative"),
            (
                "The upper vertebral body slips forward by {n} mm.",
                "Slippage with pars defects uncovers the disc.",
                "Forward slip of the vertebral body is unchanged in flexion.",
            ),
            ("Slippage with {+F} at {place}.",),
            countable=False,
        ),
    ),
    weight=1.0,
)

KNEE_MR = Exam(
    key="knee_mr",
    modality=("MR",),
    body_part="KNEE",
    region="knee",
    titles=(
        "MRI right knee without contrast",
        "MRI left knee",
        "MRI of the knee without contrast",
        "MR knee",
    ),
    short="MRI",
    series=(Series((2, 3), "SAG PD", 0), Series((4, 6), "SAG T2 FS", 1), Series((5, 8, 12), "SAG T2 TSE", 1)),
    last_image=28,
    techniques=(
        "Multiplanar proton density and T2 fat-saturated images of the knee were [obtained|acquired].",
        "Sagittal, coronal and axial sequences of the knee with {slice} mm slices [in a dedicated coil|at 3"
        " Tesla].",
    ),
    reasons=(
        "[Knee pain|Locking|Giving way|Twisting injury] [for {n} weeks|during sports].",
        "Evaluate for {!meniscal tear}.",
        "Positive Lachman test, rule out {!acl tear}.",
        "History of {~osteoarthritis}, worsening pain on {T}.",
    ),
    normals=(
        "The posterior cruciate ligament is [intact|normal in signal].",
        "The medial collateral ligament and the iliotibial band are [intact|unremarkable].",
        "The lateral meniscus is [intact|normal in morphology].",
        "The quadriceps and patellar tendons are intact.",
        "The articular cartilage of the patella is [preserved|smooth] without {-chondromalacia}.",
        "No {-popliteal cyst} is [seen|identified].",
        "There is no {-bone marrow edema} of the femoral condyles.",
        "The popliteus tendon and the arcuate complex are [intact|normal].",
        "The neurovascular bundle of the popliteal fossa is normal.",
        "The Hoffa fat pad is [unremarkable|normal in signal].",
        "Patellar tracking and the trochlear groove are [normal|mildly shallow].",
        "There is no {-osteochondral defect} of the weight-bearing surface.",
        "Mild prepatellar subcutaneous signal is [noted|seen].",
        "The fibular head and proximal tibiofibular joint are unremarkable.",
    ),
    parts=(
        "sartorius;gracilis;semitendinosus;biceps femoris tendon;medial retinaculum;"
        "lateral retinaculum;trochlea;tibial tubercle;pes anserinus;coronary ligaments;"
        "meniscofemoral ligament;transverse ligament;popliteal vessels;soleus;plica;"
        "prepatellar bursa;infrapatellar bursa;tibial spine;meniscal roots;fabella"
    ),
    findings=(
        Finding(
            "meniscal_tear",
            ("meniscal tear", "torn meniscus", "meniscus tear"),
            Look("line", (900.0, 950.0), (0.1, 0.14)),
            {
                "posterior horn of the medial meniscus": (0.25, 0.06),
                "anterior horn of the medial meniscus": (-0.25, 0.06),
            },
            ("horizontal", "complex", "oblique", "radial"),
            (
                "Linear signal reaches the inferior articular surface of the meniscus.",
                "The {+F} involves the red zone without a displaced flap.",
                "Meniscal signal extends to the surface on consecutive slices.",
            ),
            ("{+F} of the {place}.",),
            weight=1.4,
        ),
        Finding(
            "effusion",
            ("joint effusion", "knee effusion"),
            Look("blob", (260.0, 960.0), (0.16, 0.22)),
            {"suprapatellar recess": (-0.52, -0.42), "suprapatellar pouch": (-0.52, -0.42)},
            ("large", "moderate", "distending"),
            (
                "Fluid distends the recess above the patella with synovial thickening.",
                "The {+F} contains no loose bodies.",
                "Synovial fluid bulges the capsule.",
            ),
            ("{+F} of the knee.",),
        ),
        Finding(
            "popliteal_cyst",
            ("popliteal cyst", "baker cyst"),
            Look("blob", (240.0, 980.0), (0.12, 0.18)),
            {"popliteal fossa": (0.66, 0.12), "medial popliteal fossa": (0.66, 0.12)},
            ("septated", "large", "leaking", "multilocular"),
            (
                "The {+cyst} arises between semimembranosus and medial gastrocnemius.",
                "Septations divide the {+F} behind the joint.",
                "The gastrocnemius bursa is filled with fluid.",
            ),
            ("Septated {+F}.",),
            (21, 66),
        ),
        Finding(
            "contusion",
            ("bone marrow edema", "bone contusion", "bone bruise"),
            Look("haze", (-350.0, 480.0), (0.2, 0.28)),
            {"lateral femoral condyle": (0.0, -0.3), "tibial plateau": (0.0, 0.4)},
            ("ill-defined", "patchy", "posttraumatic"),
            (
                "Subchondral marrow signal is increased without a trabecular break.",
                "Ill-defined subchondral signal follows impaction.",
                "The pivot shift pattern of marrow injury is noted.",
            ),
            ("{+F} of the {place}.",),
            countable=False,
        ),
        Finding(
            "acl_tear",
            ("anterior cruciate ligament tear", "acl tear", "acl rupture"),
            Look("organ", (1.0,), (0.5, 0.9), "cruciate"),
            {"intercondylar notch": (0.0, 0.0), "femoral attachment": (0.0, 0.0)},
            ("complete", "midsubstance", "acute"),
            (
                "The fibers of the anterior cruciate are discontinuous and wavy.",
                "Discontinuous fibers lie flat in the notch with anterior tibial translation.",
                "The cruciate stump is swollen.",
            ),
            ("{+F}, orthopedic evaluation is recommended.",),
        ),
    ),
    weight=0.9,
)
