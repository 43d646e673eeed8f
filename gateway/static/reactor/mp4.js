// Fragments of a recording as a film of their own: its clock begins at zero (ISO/IEC 14496-12, 8.8.12).

/** Set back, in place, the decode times of the fragments in `segments`, in order, by the first one's of each track. */
export function beginAtZero(segments) {
  const first = new Map();        // track id -> decode time
  for (const segment of segments) {
    const view = new DataView(segment);
    for (const moof of boxes(view, "moof")) {
      for (const traf of boxes(view, "traf", moof)) {
        const [tfhd] = boxes(view, "tfhd", traf);
        const [tfdt] = boxes(view, "tfdt", traf);
        const track = view.getUint32(tfhd.begin + 4);
        const time = decodeTime(view, tfdt);
        if (!first.has(track)) first.set(track, time.get());
        time.set(time.get() - first.get(track));
      }
    }
  }
}

/** `{begin, end}` of the contents of each box of a type inside another. */
function boxes(view, type, { begin, end } = { begin: 0, end: view.byteLength }) {
  const found = [];
  for (let at = begin; at + 8 <= end;) {
    const size = view.getUint32(at);
    const name = String.fromCharCode(...new Uint8Array(view.buffer, at + 4, 4));
    const next = size === 1 ? at + Number(view.getBigUint64(at + 8)) : size === 0 ? end : at + size;
    if (next <= at) break;        // damaged
    if (name === type) found.push({ begin: at + (size === 1 ? 16 : 8), end: next });
    at = next;
  }
  return found;
}

function decodeTime(view, { begin }) {
  const at = begin + 4;
  if (view.getUint8(begin) === 1) return { get: () => view.getBigUint64(at), set: (time) => view.setBigUint64(at, time) };
  return { get: () => BigInt(view.getUint32(at)), set: (time) => view.setUint32(at, Number(time)) };
}
