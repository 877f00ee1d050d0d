// Puts the chosen colours on before anything is drawn. A classic script: it must not come late.
"use strict";
{
  let choice = "auto";
  try {
    choice = localStorage.getItem("arrwdb.theme") ?? "auto";
  } catch {
    // Storage is switched off: the system's colours, then.
  }
  document.documentElement.dataset.theme = ["light", "dark"].includes(choice) ? choice : "auto";
}
