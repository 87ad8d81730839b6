// The page's words, in the first language of the browser's that there is.

const LANGUAGES = ["en", "de", "es", "fr"];
let words = {};

/** Read the words, and put them where data-text asks for them. */
export async function load() {
  const wanted = navigator.languages.map((tag) => tag.split("-")[0].toLowerCase());
  const language = wanted.find((tag) => LANGUAGES.includes(tag)) ?? LANGUAGES[0];
  const answer = await fetch(new URL(`texts/${language}.json`, import.meta.url), { credentials: "omit" });
  words = await answer.json();
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = text(element.dataset.text);
  }
}

/** Return a text, with values for what stands in braces. */
export function text(name, values = {}) {
  return words[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/** Return how long to wait, in words. */
export function duration(seconds) {
  return seconds < 90 ? text("seconds", { n: Math.ceil(seconds) }) : text("minutes", { n: Math.ceil(seconds / 60) });
}
