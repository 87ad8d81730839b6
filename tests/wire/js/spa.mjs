// auth0-spa-js wants a browser; these are the parts of one that it touches, over Node's own fetch and Web Crypto.
import { createRequire } from 'node:module';

class Storage {
  #items = new Map();
  get length() { return this.#items.size; }
  key(index) { return [...this.#items.keys()][index] ?? null; }
  getItem(name) { return this.#items.get(name) ?? null; }
  setItem(name, value) { this.#items.set(name, String(value)); }
  removeItem(name) { this.#items.delete(name); }
}

const locks = new Map();

function request(name, options, callback) {
  const turn = (locks.get(name) ?? Promise.resolve()).then(() => callback({ name }));
  locks.set(name, turn.catch(() => undefined));
  return turn;
}

const location = { origin: 'https://app.example.test', href: 'https://app.example.test/', protocol: 'https:', search: '' };
Object.assign(globalThis, {
  window: globalThis,
  document: { cookie: '' },
  location,
  localStorage: new Storage(),
  sessionStorage: new Storage(),
  addEventListener() {},
  removeEventListener() {},
});
Object.defineProperty(globalThis, 'navigator', { value: { locks: { request } }, configurable: true });

// Required after the globals: the SDK looks at some of them while it loads.
export const { Auth0Client } = createRequire(import.meta.url)('@auth0/auth0-spa-js');
