// Bundles the pages into dist/, one with the SDK, one with hls.js. The React half of the SDK is unused and falls out of the bundle.
import { cp } from "node:fs/promises";
import { build } from "esbuild";

await build({
  entryPoints: ["page.js", "hls-page.js"],
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
});
for (const page of ["index.html", "hls.html"]) await cp(page, `dist/${page}`);
