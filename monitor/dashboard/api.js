// The daemon's HTTP interface: one place that knows about bearer tokens, deadlines and error bodies.

import { token } from "./session.js";

const READ_TIMEOUT_MS = 10_000;
// Longer than the daemon waits for enforcement points and disk, shorter than a human's patience at 3 a.m.
const ACT_TIMEOUT_MS = 15_000;

/** An answer that is not a success. `status` 0: no answer at all. `field`: what the daemon found wrong, or null. */
export class ApiError extends Error {
  constructor(message, status, field = null) {
    super(message);
    this.status = status;
    this.field = field;
  }

  /** True when the token is unknown. */
  get isUnauthorised() {
    return this.status === 401;
  }
}

async function request(method, path, body, timeoutMs) {
  const headers = { Authorization: `Bearer ${token() ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(timeoutMs),
    });
  } catch (error) {
    const waited =
      error.name === "TimeoutError"
        ? `no answer within ${timeoutMs / 1000} s`
        : "the daemon cannot be reached";
    throw new ApiError(waited, 0);
  }
}

async function decoded(response) {
  const value = await response.json().catch(() => null);
  if (response.ok && value !== null) return value;
  const sentence = typeof value?.error === "string" ? value.error : `the daemon answered ${response.status}`;
  throw new ApiError(sentence, response.status, value?.field ?? null);
}

/** Return the decoded answer to a GET; raises ApiError. */
export async function read(path) {
  return decoded(await request("GET", path, undefined, READ_TIMEOUT_MS));
}

/** Return the decoded answer to a POST; raises ApiError. Status 0 means: it may or may not have happened. */
export async function act(path, body) {
  return decoded(await request("POST", path, body, ACT_TIMEOUT_MS));
}
