// The messages of the session, and what was sent, the newest first.

import { $, element } from "./dom.js";

const LINES = 200;

/** `kind` is `sent`, `error` or empty. */
export function addLog(type, data, kind = "") {
  const log = $("log");
  log.prepend(element("li", { className: kind }, element("b", {}, type), ` ${JSON.stringify(data ?? {})}`));
  while (log.children.length > LINES) log.lastChild.remove();
}
