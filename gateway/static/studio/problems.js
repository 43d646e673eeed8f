// What went wrong, shown in the panel where the command came from until the next one is accepted.

const places = [...document.querySelectorAll("[data-origin]")];

export function showProblem(origin, message) {
  clearProblems();
  const place = places.find((each) => each.dataset.origin === origin) ?? places[0];
  place.textContent = message;
  place.hidden = false;
}

export function clearProblems() {
  for (const place of places) {
    place.hidden = true;
    place.textContent = "";
  }
}
