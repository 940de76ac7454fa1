"""What a person looks at: metrics and the report."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np

from radfast import report, store
from radfast.pipeline.context import Context
from radfast.pipeline.measure import measure, read_json


def evaluate(run: Context) -> str:
    """Measure every stage and write metrics.json."""
    metrics = measure(run)
    store.write_json(run.out / "metrics.json", metrics)
    said = []
    for level, found in (metrics["classification"] or {}).items():
        top1, baseline = found["top1"]["value"], found["majority"]["top1"]["value"]
        if top1 is not None:
            said.append(f"{level} top-1 {top1:.2f} (majority {baseline:.2f})")
    return ", ".join(said) or "no held-out image to measure"


def write_report(run: Context) -> str:
    """Write the HTML report."""
    metrics = read_json(run.out / "metrics.json")
    about = metrics["run"]
    machine = about["machine"]
    tables = {
        name: run.read(name)
        for name in (
            "images",
            "reports",
            "links",
            "findings",
            "topics",
            "topic_words",
            "labels",
            "descriptions",
            "ledger",
        )
    }
    found = metrics["vectors"] or {}
    context = report.ReportContext(
        run_id=run.run_id,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **tables,
        pictures=np.load(run.pixels, mmap_mode="r"),
        nearest=found.get("nearest", {}),
        bigrams=[(*row["bigram"].split(" "), row["count"]) for row in found.get("bigrams", [])],
        config=run.config.model_dump(mode="json"),
        versions={"radfast": machine["radfast"], "python": machine["python"], **machine["versions"]},
        hardware={
            "processor": machine["processor"],
            "cores": str(machine["cores"]),
            "memory": f"{machine['memory_bytes'] / 2**30:.0f} GiB",
            "platform": machine["platform"],
        },
        stages=[
            report.StageCost(cost["name"], cost["seconds"], cost["peak_memory_bytes"], cost["note"])
            for cost in about["stages"]
        ],
    )
    store.write_bytes(run.out / "report.html", report.render_report(metrics, context).encode())
    return str(run.out / "report.html")
