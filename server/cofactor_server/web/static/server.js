// What the page asks the server, always by POST and with everything in the body: addresses end up in logs.

/** Why the server does not do what it was asked. */
export class Refused extends Error {
  /** @param {{status?: number, error?: string, hint?: string, retryAfter?: number}} why status 0: nobody answered */
  constructor({ status = 0, error = "", hint = "", retryAfter = 0 } = {}) {
    super(error);
    Object.assign(this, { status, error, hint, retryAfter });
  }
}

/** Return what the server says to `name`, such as "begin"; throw Refused. */
export async function ask(name, body) {
  let answer, said;
  try {
    answer = await fetch(new URL(name, import.meta.url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      credentials: "omit",
      redirect: "error",
    });
    said = await answer.json();
  } catch {
    throw new Refused({ status: answer?.ok ? 0 : answer?.status });
  }
  if (!answer.ok) {
    const retryAfter = Number(answer.headers.get("retry-after")) || 0;
    throw new Refused({ status: answer.status, error: said.error, hint: said.hint, retryAfter });
  }
  return said;
}
