// Figures open large; a search works without a server.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  const figures = document.querySelectorAll("article.bd-article img");
  if (!figures.length) return;
  const large = document.createElement("dialog");
  large.className = "large";
  large.addEventListener("click", () => large.close());
  large.addEventListener("keydown", (event) => event.key === "Escape" && large.close());
  document.body.append(large);
  for (const figure of figures) {
    if (figure.closest("a[href]:not(.image-reference)")) continue;
    const open = (event) => {
      if (event.key && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      const image = document.createElement("img");
      image.src = figure.src;
      image.alt = figure.alt;
      large.replaceChildren(image);
      large.showModal();
    };
    figure.classList.add("opens");
    figure.tabIndex = 0;
    figure.setAttribute("role", "button");
    figure.title ||= "Open large";
    figure.addEventListener("click", open);
    figure.addEventListener("keydown", open);
  }
});
