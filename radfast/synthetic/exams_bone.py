"""Bones and joints: MR of spine and knee (signal of T1 and T2), radiograph of the hand (density 0 to 1)."""

from __future__ import annotations

from radfast.synthetic.exams import Exam, Finding, Look, Series

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
        "[Low back pain|Sciatica|Left leg radiculopathy|Right leg radiculopathy] [for {n} weeks|not relieved"
        " by {T}].",
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
                "Expansile lucency with a sclerotic rim is typical of a {+bone cyst}.",
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
