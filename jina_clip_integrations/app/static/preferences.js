// What a person chose for this browser: light or dark, and how large the images are.

import { $ } from "./dom.js";

const read = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
const write = (key, value) => { try { localStorage.setItem(key, value); } catch { /* storage may be off */ } };
const wantsDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (wantsDark.matches ? "dark" : "light")) === "dark";

export function setUpSettings(grid, setIcon) {
  const draw = () => {
    $("theme").setAttribute("aria-pressed", String(isDark()));
    setIcon($("theme"), isDark() ? "sun" : "moon");
  };
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    write("theme", document.documentElement.dataset.theme);
    draw();
  });
  wantsDark.addEventListener("change", draw);
  draw();

  const narrow = matchMedia("(max-width: 640px)").matches;
  $("zoom").value = read("size") ?? (narrow ? 130 : 200);
  grid.setTarget(Number($("zoom").value));
  $("zoom").addEventListener("input", () => { grid.setTarget(Number($("zoom").value)); write("size", $("zoom").value); });
}
