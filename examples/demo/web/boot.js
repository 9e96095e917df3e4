// A classic script, run before the first paint: a module would come too late and the page would flash
// in the wrong theme. Everything else about theme and motion is in theme.js.
(function () {
  try {
    const theme = localStorage.getItem("holdfast.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    if (localStorage.getItem("holdfast.motion") === "paused") document.documentElement.dataset.motion = "paused";
  } catch (_) {
    // Storage may be forbidden; the page then follows the system.
  }
})();
