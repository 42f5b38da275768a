"use strict";
(function () {
  // The address ends in "#anchor;lang=zh": the anchor to show and the language, either may be absent.
  const root = document.documentElement;
  const titles = { en: "rlaws: verdicts", zh: "rlaws：结论" };
  const said = document.getElementById("said");

  function address() {
    const found = { anchor: "", lang: "" };
    for (const part of decodeURIComponent(location.hash.slice(1)).split(";")) {
      if (part.startsWith("lang=")) found.lang = part.slice(5);
      else if (part) found.anchor = part;
    }
    return found;
  }

  function show(lang) {
    root.dataset.lang = lang;
    root.lang = lang === "zh" ? "zh-Hans" : "en";
    document.title = titles[lang];
    document.getElementById("language").setAttribute("aria-label", lang === "zh" ? "Switch to English" : "切换为中文");
  }

  function follow() {
    const at = address();
    if (titles[at.lang]) show(at.lang);
    const target = at.anchor && document.getElementById(at.anchor);
    if (target) target.scrollIntoView();
  }

  function go(anchor, lang) {
    const parts = [anchor, lang ? "lang=" + lang : ""].filter(Boolean);
    history.pushState(null, "", "#" + parts.join(";"));
  }

  show((navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en");
  follow();
  window.addEventListener("hashchange", follow);
  window.addEventListener("popstate", follow);

  document.getElementById("language").addEventListener("click", function () {
    const lang = root.dataset.lang === "zh" ? "en" : "zh";
    show(lang);
    go(address().anchor, lang);
  });

  document.addEventListener("click", function (event) {
    const link = event.target.closest('a[href^="#"]');
    if (!link) return;
    event.preventDefault();
    go(link.getAttribute("href").slice(1), address().lang);
    follow();
    const target = document.getElementById(address().anchor);
    if (target) {
      target.setAttribute("tabindex", "-1");
      target.focus({ preventScroll: true });
    }
  });

  function copyByHand(text) {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done ? Promise.resolve() : Promise.reject(new Error("copy refused"));
  }

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", function () {
      const text = button.parentElement.querySelector("code").textContent;
      const clipboard = navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject(new Error("none"));
      clipboard.catch(() => copyByHand(text)).then(function () {
        button.classList.add("done");
        said.textContent = root.dataset.lang === "zh" ? "已复制" : "copied";
        setTimeout(() => button.classList.remove("done"), 1500);
      }, function () {
        getSelection().selectAllChildren(button.parentElement.querySelector("code"));
      });
    });
  }

  // A printed page has no folded parts; afterwards they are as they were.
  let folded = [];
  window.addEventListener("beforeprint", function () {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const part of folded) part.open = true;
  });
  window.addEventListener("afterprint", function () {
    for (const part of folded) part.open = false;
  });
})();
