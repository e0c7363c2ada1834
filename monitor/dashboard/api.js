// The daemon's HTTP interface: one place that knows about the session's CSRF value, deadlines and error bodies.
// The session itself is a cookie that no script can read.

const READ_TIMEOUT_MS = 10_000;
// Longer than the daemon waits for enforcement points and disk, shorter than a human's patience at 3 a.m.
const ACT_TIMEOUT_MS = 15_000;

/** An answer that is not a success. `status` 0: no answer at all. `field`: what the daemon found wrong, or null. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   * @param {string | null} [field]
   * @param {Record<string, any>} [body] the whole answer
   */
  constructor(message, status, field = null, body = {}) {
    super(message);
    this.status = status;
    this.field = field;
    this.body = body;
  }

  /** The daemon's sentence, for who destructures it. */
  get error() {
    return this.message;
  }

  /** True when the session is unknown, or has ended. */
  get isUnauthorised() {
    return this.status === 401;
  }
}

/** Speaks for one session. `onRefused(error)` is told when it is not known any more, or not ours any more. */
export class Api {
  /** @type {string | null} */
  csrf = null;
  /** @type {(error: ApiError) => void} */
  onRefused = () => {};

  /** Return the decoded answer to a GET; raises ApiError. */
  get(path, { timeoutMs = READ_TIMEOUT_MS } = {}) {
    return this.#ask("GET", path, undefined, timeoutMs);
  }

  /** Return the decoded answer to a POST; raises ApiError. Status 0 means: it may or may not have happened. */
  post(path, body, { timeoutMs = ACT_TIMEOUT_MS } = {}) {
    return this.#ask("POST", path, body, timeoutMs);
  }

  /** Return null, or the decoded answer, to a DELETE; raises ApiError. */
  del(path, { timeoutMs = ACT_TIMEOUT_MS } = {}) {
    return this.#ask("DELETE", path, undefined, timeoutMs);
  }

  async #ask(method, path, body, timeoutMs) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (method !== "GET" && this.csrf !== null) headers["X-Killcord-CSRF"] = this.csrf;
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const content = body === undefined ? undefined : JSON.stringify(body);
      return await decoded(
        await fetch(path, { method, headers, body: content, cache: "no-store", redirect: "error", signal }),
      );
    } catch (error) {
      const problem = error instanceof ApiError ? error : unreachable(error, timeoutMs);
      // Another tab signed in as somebody else: what this page shows of its person is not true any more.
      if (problem.isUnauthorised || (problem.status === 403 && problem.field === "csrf")) this.onRefused(problem);
      throw problem;
    }
  }
}

function unreachable(error, timeoutMs) {
  const isLate = error.name === "TimeoutError";
  return new ApiError(isLate ? `no answer within ${timeoutMs / 1000} s` : "the daemon cannot be reached", 0);
}

async function decoded(response) {
  if (response.status === 204) return null;
  const value = await response.json().catch((error) => {
    if (error.name === "TimeoutError" || error.name === "AbortError") throw error;
    return null;
  });
  if (response.ok && value !== null) return value;
  const sentence = typeof value?.error === "string" ? value.error : `the daemon answered ${response.status}`;
  throw new ApiError(sentence, response.status, value?.field ?? null, value ?? {});
}
