// The live controls: their commands, and which of them make sense now. The server has the last word.

import { $ } from "./dom.js";

const ORIGINS = { start: "transport", pause: "transport", resume: "transport", reset: "transport" };

const buttons = [...document.querySelectorAll("[data-command]")];

/** `send(command, data, origin)`, or `refuse(origin, reason)` for what is no command at all. */
export function wireDirector({ send, refuse }) {
  const press = (command) => {
    const data = argumentsOf(command);
    const origin = ORIGINS[command] ?? "director";
    if (Object.values(data).some(Number.isNaN)) refuse(origin, "The chunk is missing.");
    else send(command, data, origin);
  };
  for (const button of buttons) button.addEventListener("click", () => press(button.dataset.command));
  $("director").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) press("set_shot");
  });
}

/** Grey out what would be refused for certain. */
export function enableCommands({ live, commands, state }) {
  const senseless = {
    start: state?.started,
    pause: state && !state.running,
    resume: state && !state.paused,
  };
  for (const button of buttons) {
    const command = button.dataset.command;
    button.disabled = !live || !commands.has(command) || Boolean(senseless[command]);
  }
}

function argumentsOf(command) {
  const prompt = $("prompt").value.trim();
  if (command === "set_shot" || command === "scene_cut") return { prompt };
  if (command.startsWith("schedule_")) return { prompt, at_session_chunk: $("at").valueAsNumber };
  return {};
}
