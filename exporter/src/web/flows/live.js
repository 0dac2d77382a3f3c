"use strict";
(() => {
  const region = document.getElementById("live");
  const toggle = document.getElementById("toggle");
  const every = 5000;
  let held = false;

  async function refresh() {
    if (toggle.getAttribute("aria-pressed") !== "true" || document.hidden || held) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      // The region alone: the style of that answer has another nonce.
      const text = await answer.text();
      const part = text.slice(text.indexOf('<div id="live">'), text.indexOf("</main>"));
      const fresh = new DOMParser().parseFromString(part, "text/html").getElementById("live");
      if (!fresh) throw new Error("no answer");
      if (held || toggle.getAttribute("aria-pressed") !== "true") return;
      const focused = region.contains(document.activeElement) && document.activeElement.getAttribute("href");
      region.replaceChildren(...fresh.childNodes);
      if (focused) {
        for (const link of region.querySelectorAll("a")) {
          if (link.getAttribute("href") === focused) { link.focus({ preventScroll: true }); break; }
        }
      }
      toggle.classList.remove("lost");
      toggle.textContent = "Live";
    } catch {
      toggle.classList.add("lost");
      toggle.textContent = "Not answering";
    }
  }

  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(on));
    toggle.textContent = on ? "Live" : "Paused";
    if (on) refresh();
  });
  // Nothing moves away under a finger, nor while text is being selected.
  region.addEventListener("pointerdown", () => { held = true; });
  addEventListener("pointerup", () => { held = !getSelection().isCollapsed; });
  addEventListener("pointercancel", () => { held = false; });
  document.addEventListener("selectionchange", () => { held = !getSelection().isCollapsed; });
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, every);
})();
