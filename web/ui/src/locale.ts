/** The reader's own variety of the page's language: "en-GB" for a British browser on an English page. */
export function locale(): string {
  const page = document.documentElement.lang;
  return navigator.languages.find((l) => l.startsWith(page)) ?? page;
}
