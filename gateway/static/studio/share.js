// The watch link: the same session as another connection of it, with a viewer's token for it alone, in the fragment.

import { mintViewerToken } from "../reactor/http.js";
import { $ } from "./dom.js";

/** What the address asks for: `{key}` to direct with, or `{watch: {sessionId, token}}`. A fragment never leaves the browser. */
export function fromAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("watch") && asked.has("token")) return { watch: { sessionId: asked.get("watch"), token: asked.get("token") } };
  if (!asked.has("key")) return {};
  history.replaceState(null, "", location.pathname);   // a key opens sessions: it must not stay in sight
  return { key: asked.get("key") };
}

/** Make a link for the session and show it. */
export async function showWatchLink({ apiKey, sessionId, model }) {
  const token = await mintViewerToken(apiKey, { sessionId, model });
  const link = `${location.origin}${location.pathname}#${new URLSearchParams({ watch: sessionId, token })}`;
  $("link").value = $("open-link").href = link;
  $("watch-link").hidden = false;
  $("link").select();
}

export function hideWatchLink() {
  $("watch-link").hidden = true;
  $("link").value = "";
  $("open-link").removeAttribute("href");
}

$("copy").addEventListener("click", () => {
  $("link").select();
  navigator.clipboard?.writeText($("link").value);     // there is none without TLS; then the selection must do
});
