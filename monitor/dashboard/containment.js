// Who has confirmed a change and who has not: the daemon's answer and the acknowledgements on the feed, put together.
// Pure, so that the panel only has to draw it.

/**
 * Return the state of a change's containment.
 *
 * `epoch`: of the change, or null while unknown. `response`: the daemon's answer, or null while it is awaited.
 * `acks`: Map(epoch → Map(point's id or name → latency in ms)). `expected`: the points that were live when it was
 * sent.
 *
 * Returns {confirmed, total, missing: [label], isContained, points: [{name, label, state, latencyMs}]} with
 * state "confirmed", "waiting" or "missing" (also: heard it, but checks otherwise); missing points come first; `name` is
 * the shortest that is not ambiguous.
 */
export function containment({ epoch, response, acks, expected }) {
  const heard = epoch === null ? new Map() : heardSince(epoch, acks);
  const points = pointList({ heard, response, expected });
  const missing = points.filter(({ state }) => state === "missing").map(({ label }) => label);
  const contrary = new Set(response?.contrary ?? []);
  const silent = missing.filter((label) => !contrary.has(label)).length;
  const late = response ? response.missing.length - silent : 0; // confirmed after the daemon had stopped waiting
  const total = response ? response.points : expected.length;
  const confirmed = response
    ? response.enforced + late
    : points.filter(({ state }) => state === "confirmed").length;
  return {
    confirmed,
    total: Math.max(total, confirmed),
    missing,
    isContained: Boolean(response) && confirmed >= total,
    points,
  };
}

/** Return what tells a point from its replicas, which may share its name. The daemon names missing ones the same way. */
export function labelOf({ name, host, pid }) {
  return `${name} (${host}, pid ${pid})`;
}

// A point that has applied a later epoch has applied ours before it.
function heardSince(epoch, acks) {
  const heard = new Map();
  for (const [at, points] of [...acks].sort(([a], [b]) => a - b)) {
    if (at < epoch) continue;
    for (const [point, latencyMs] of points)
      if (!heard.has(point)) heard.set(point, at === epoch ? latencyMs : NaN);
  }
  return heard;
}

function pointList({ heard, response, expected }) {
  const missing = new Set(response?.missing ?? []);
  const contrary = new Set(response?.contrary ?? []); // heard it, and their own check says otherwise
  const known = new Set(expected.map(labelOf));
  const strangers = [...missing]
    .filter((label) => !known.has(label))
    .map((label) => ({ name: label, label, state: "missing", latencyMs: NaN }));
  const names = expected.map(({ name }) => name);
  const isUnique = (name) => names.indexOf(name) === names.lastIndexOf(name);
  const rows = expected.map((point) => {
    const label = labelOf(point);
    // By name only where no replica shares it: one replica's word must not stand for another's.
    const key = heard.has(point.id) ? point.id : isUnique(point.name) ? point.name : undefined;
    const name = isUnique(point.name) ? point.name : label;
    return {
      name,
      label,
      state: contrary.has(label) ? "missing" : stateOf(heard.has(key), missing.has(label), response),
      latencyMs: heard.get(key) ?? NaN,
    };
  });
  const rank = { missing: 0, waiting: 1, confirmed: 2 };
  return [...strangers, ...rows].sort(
    (a, b) => rank[a.state] - rank[b.state] || (a.label < b.label ? -1 : 1),
  );
}

function stateOf(isHeard, isMissing, response) {
  if (isHeard) return "confirmed";
  // Once the daemon has answered, whom it does not miss has confirmed, even if the feed did not bring it to us.
  return isMissing ? "missing" : response ? "confirmed" : "waiting";
}
