// Drives one SDK for pytest: a JSON request a line on stdin, a JSON answer a line on stdout, one after the other.
//   {"make": "Class", "options": {...}}               -> {"value": "1"}, the name of the new client
//   {"call": ["1", "mfa", "verify"], "with": [...]}   -> {"value": ...} or {"error": {...}}
import { createInterface } from 'node:readline';

const sdk = await import(process.argv[2] === 'spa-js' ? './spa.mjs' : '@auth0/auth0-auth-js');
const clients = new Map();

function make({ make, options }) {
  const name = String(clients.size + 1);
  clients.set(name, new sdk[make](options));
  return name;
}

async function call({ call: [name, ...path], with: given }) {
  const method = path.pop();
  const owner = path.reduce((object, part) => object[part], clients.get(name));
  return owner[method](...given);
}

// What an application can look at when it catches the error.
function told(error) {
  const { code, error_description, mfa_token, mfa_requirements, statusCode, cause } = error;
  return {
    name: error.name === 'Error' ? error.constructor.name : error.name,
    class: error.constructor.name,
    message: error.message,
    code,
    error: error.error,
    error_description,
    mfa_token,
    mfa_requirements,
    status: statusCode,
    cause: cause instanceof Error ? { ...cause, message: cause.message } : cause,
    is_mfa_required: sdk.isMfaRequiredError?.(error),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { value: (request.make ? make(request) : await call(request)) ?? null };
  } catch (error) {
    answer = { error: told(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
