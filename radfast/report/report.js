"use strict";
const fields = [...document.querySelectorAll("textarea[data-topic]")];
const save = document.getElementById("save");
if (save && fields.length) {
  save.hidden = false;
  save.addEventListener("click", () => {
    const cell = (text) => '"' + text.replaceAll('"', '""') + '"';
    const rows = fields.map((field) => [field.dataset.level, field.dataset.topic, field.value].map(cell).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["level,topic,reading\r\n" + rows.join("\r\n") + "\r\n"], {type: "text/csv"}));
    link.download = "topic-readings.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
// Closed parts do not print: open them for the paper and close them after.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => closed.forEach((part) => { part.open = false; }));
