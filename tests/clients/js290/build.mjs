// Bundles the page and the SDK into dist/. The React half of the SDK is unused and falls out of the bundle.
import { cp } from "node:fs/promises";
import { build } from "esbuild";

await build({
  entryPoints: ["page.js"],
  outfile: "dist/page.js",
  bundle: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
});
await cp("index.html", "dist/index.html");
