"""Abdominal CT."""

from __future__ import annotations

from radfast.synthetic.exams import Exam, Finding, Look, Series

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
        "[The prostate is|The uterus and adnexa are|The pelvic organs are] unremarkable for age.",
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
            ("{+F}, possibly related to {?cirrhosis}.",),
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
