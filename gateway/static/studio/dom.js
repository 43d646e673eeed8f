// The page's elements. Everything from the server is set as text, never as markup.

export const $ = (id) => document.getElementById(id);

export const text = (id, value) => { $(id).textContent = value ?? "–"; };

/** `element("li", {className: "past"}, child, "words")` */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
