// Our pages live in a frame of Airflow's: they follow its light or dark, and hand it the links that lead out of the
// frame, which the frame's sandbox would refuse.
const follow = () => {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
};
follow();
addEventListener("storage", follow);

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-leave]");
  if (link === null || window.parent === window) return;
  event.preventDefault();
  const page = window.parent.document;
  const copy = page.createElement("a");
  copy.href = link.href;
  if (link.origin !== location.origin) {
    copy.target = "_blank";
    copy.rel = "noopener";
  }
  page.body.append(copy);
  copy.click();
  copy.remove();
});
