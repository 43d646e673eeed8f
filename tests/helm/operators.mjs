// Reads objects as JSON from stdin and validates them twice: against the operators' generated types, in which an
// unknown field is an error, and by their validators. Prints a JSON list for each object: what is wrong with it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

const rooms = {
  HTTPRoute: "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute",
  PodMonitor: "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor",
  PrometheusRule: "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
};
const objects = JSON.parse(readFileSync(0, "utf8"));
const wrong = objects.map(() => []);
for (const [n, object] of objects.entries()) {
  const { [object.kind]: Model } = await import(rooms[object.kind]);
  try {
    new Model(object).validate();
  } catch (error) {
    wrong[n].push(error.message);
  }
}

const folder = mkdtempSync(join("node_modules", ".checked-"));
try {
  const file = join(folder, "objects.ts");
  const imports = Object.entries(rooms).map(([kind, room]) => `import type { I${kind} } from "${room}";`);
  const values = objects.map((object, n) => `export const o${n}: I${object.kind} = ${JSON.stringify(object)};`);
  writeFileSync(file, [...values, ...imports].join("\n")); // one line an object, from line 0 on
  const modules = { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler };
  const options = { ...modules, strict: true, noEmit: true, skipLibCheck: true, types: [] };
  const program = ts.createProgram([file], options);
  for (const found of [...program.getSyntacticDiagnostics(), ...program.getSemanticDiagnostics()]) {
    const { line } = found.file.getLineAndCharacterOfPosition(found.start);
    wrong[line].push(ts.flattenDiagnosticMessageText(found.messageText, "\n"));
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(JSON.stringify(wrong));
