// Who has confirmed a change and who has not: the daemon's answer and the acknowledgements on the feed, put together.
// Pure, so that the panel only has to draw it.

/**
 * Return the state of a change's containment.
 *
 * `epoch`: of the change, or null while unknown. `response`: the daemon's answer, or null while it is awaited.
 * `acks`: Map(epoch → Map(point → latency in ms)). `expected`: names of the points that were live when it was sent.
 *
 * Returns {confirmed, total, missing: [name], isContained, slowestMs, points: [{name, state, latencyMs}]} with state
 * "confirmed", "waiting" or "missing"; missing points come first.
 */
export function containment({ epoch, response, acks, expected }) {
  const heard = epoch === null ? new Map() : heardSince(epoch, acks);
  const named = new Set(response?.missing ?? []);
  const missing = [...named].filter((name) => !heard.has(name));
  const late = named.size - missing.length; // confirmed after the daemon had stopped waiting
  const points = pointList({ heard, missing, response, expected });
  const total = response ? response.points : expected.length;
  const confirmed = response ? Math.min(total, response.enforced + late) : heard.size;
  const latencies = [...heard.values()].filter(Number.isFinite);
  return {
    confirmed,
    total: Math.max(total, confirmed),
    missing,
    isContained: Boolean(response) && missing.length === 0 && confirmed >= total,
    slowestMs: latencies.length ? Math.max(...latencies) : NaN,
    points,
  };
}

// A point that has applied a later epoch has applied ours before it.
function heardSince(epoch, acks) {
  const heard = new Map();
  for (const [at, points] of [...acks].sort(([a], [b]) => a - b)) {
    if (at < epoch) continue;
    for (const [point, latencyMs] of points) if (!heard.has(point)) heard.set(point, at === epoch ? latencyMs : NaN);
  }
  return heard;
}

function pointList({ heard, missing, response, expected }) {
  const lost = new Set(missing);
  const all = new Set([...missing, ...expected, ...heard.keys()]);
  // Once the daemon has answered, whom it does not miss has confirmed, even if the feed did not bring it to us.
  const stateOf = (name) => (lost.has(name) ? "missing" : heard.has(name) || response ? "confirmed" : "waiting");
  const rank = { missing: 0, waiting: 1, confirmed: 2 };
  return [...all]
    .map((name) => ({ name, state: stateOf(name), latencyMs: heard.get(name) ?? NaN }))
    .sort((a, b) => rank[a.state] - rank[b.state] || (a.name < b.name ? -1 : 1));
}
