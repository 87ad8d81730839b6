// The enrollment page. The ticket and what is enrolled live in this module's variables, and in no address or storage.
import { create, supported } from "./keys.js";
import { Refused, ask } from "./server.js";
import { duration, load, text } from "./texts.js";

const $ = (id) => document.getElementById(id);
const FACTORS = ["otp", "webauthn", "push", "sms", "voice", "email"]; // in the order in which they are offered
const FIRST_VIEW = { sms: "phone", voice: "phone", email: "email", webauthn: "key" };

let ticket = "";
let offered = {}; // what the server said of the ticket
let chosen = ""; // a factor
let wanted = {}; // what `begin` was asked for, to ask again
let enrollment = ""; // what `begin` answered
let turn = 0; // grows with each view: what was asked in an earlier one is not shown in a later
let busy = false;
let done = false; // recovery codes are on the page, and nothing that is still under way may take them off it

// --- what is seen -------------------------------------------------------------------------------------------------
function show(view, heading) {
  if (done) return;
  turn += 1;
  for (const part of document.querySelectorAll("[data-in]")) {
    part.hidden = !part.dataset.in.split(" ").includes(view);
  }
  say("");
  fail("");
  $("heading").textContent = heading;
  document.title = offered.issuer_name ? `${heading} – ${offered.issuer_name}` : heading;
  $("heading").focus();
}

const say = (words) => ($("progress").textContent = words);

function fail(words, input) {
  for (const field of document.querySelectorAll("input")) {
    field.setAttribute("aria-invalid", String(field === input));
  }
  $("problem").textContent = words;
  input?.focus();
}

function showChoices() {
  forget();
  show("choose", text("choose"));
}

function showEnd(why) {
  forget();
  ticket = "";
  $("account").hidden = true;
  $("ended-more").textContent = why;
  show("ended", text("ended"));
}

/** Take what was secret off the page. */
function forget() {
  enrollment = "";
  wanted = {};
  $("barcode").removeAttribute("src");
  $("secret").textContent = "";
  for (const form of document.forms) form.reset();
}

// --- asking -------------------------------------------------------------------------------------------------------
/** Do one thing at a time, and say why it failed; `input` is what the user would have to change. */
async function during(work, input) {
  if (busy) return;
  busy = true;
  const begun = turn;
  fail("");
  say(text("busy"));
  try {
    await work();
  } catch (error) {
    explain(error, input);
  } finally {
    busy = false;
    if (turn === begun) say("");
  }
}

function explain(error, input) {
  if (error instanceof DOMException) {
    const known = ["InvalidStateError", "NotAllowedError", "SecurityError"].includes(error.name);
    fail(text(known ? `key_${error.name}` : "key_failed", { host: location.hostname }));
  } else if (!(error instanceof Refused)) {
    fail(text("failed"));
    console.error(error.name); // a fault of this page's; its message may quote what was entered
  } else if (error.error === "invalid_ticket") {
    showEnd(text("ended_more"));
  } else if (["expired_token", "enrollment_not_found"].includes(error.error)) {
    showChoices();
    fail(text("too_late"));
  } else {
    const entered = error.status >= 400 && error.status < 500 && error.status !== 429;
    fail(reason(error), entered ? input : undefined);
  }
}

function reason({ status, error, hint, retryAfter }) {
  if (status === 0) return text("unreachable");
  if (status === 429) return text("wait", { time: duration(retryAfter || 60) });
  if (status >= 500) return text("failed");
  if (enrollment && ["invalid_grant", "invalid_request"].includes(error)) {
    if (chosen === "webauthn") return keyRefused(hint);
    return text(hint === "check_clock" ? "wrong_clock" : "wrong_code");
  }
  return text((error === "invalid_request" && ADDRESSES[chosen]) || "refused");
}

function keyRefused(hint) {
  const why = { check_origin: "key_SecurityError", user_verification_required: "key_verification" }[hint];
  return text(why ?? "key_failed", { host: location.hostname });
}

const ADDRESSES = { sms: "wrong_phone", voice: "wrong_phone", email: "wrong_email" };

// --- choosing, beginning, confirming ------------------------------------------------------------------------------
async function open() {
  try {
    offered = await ask("ticket", { ticket });
  } catch (error) {
    if (error.error === "access_denied") return showEnd(text("already"));
    show("stuck", text("choose"));
    throw error;
  }
  $("account").textContent = text("account", { user: offered.user, issuer: offered.issuer_name });
  $("account").hidden = false;
  const until = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "long", timeStyle: "short" });
  $("until").textContent = text("until", { time: until.format(new Date(offered.expires_at)) });
  const factors = FACTORS.filter((factor) => offered.factors.includes(factor));
  $("choices").replaceChildren(...factors.map(choice));
  showChoices();
  if (factors.length === 0) fail(text("nothing"));
}

function choice(factor) {
  const [item, button, name, about] = ["li", "button", "strong", "span"].map((tag) => document.createElement(tag));
  const possible = factor !== "webauthn" || supported();
  name.textContent = text(factor);
  about.textContent = text(possible ? `${factor}_about` : "webauthn_missing");
  button.type = "button";
  button.disabled = !possible;
  button.append(name, about);
  button.addEventListener("click", () => choose(factor));
  item.append(button);
  return item;
}

function choose(factor) {
  if (busy) return;
  chosen = factor;
  if (!(factor in FIRST_VIEW)) return during(() => begin({}));
  show(FIRST_VIEW[factor], text(factor));
}

async function begin(asked) {
  wanted = { ticket, factor: chosen, ...asked };
  const begun = await ask("begin", wanted);
  enrollment = begun.enrollment;
  if (begun.webauthn_options) {
    say(text("key_touch"));
    return confirm({ credential: await create(begun.webauthn_options) });
  }
  if (begun.barcode_svg) draw(begun);
  if (chosen === "push") {
    show("device", text("push"));
    say(text("waiting"));
    return void poll(enrollment, begun.poll_interval);
  }
  $("sent-to").textContent = text(chosen === "voice" ? "sent_voice" : "sent", { address: begun.masked_address });
  show(begun.secret ? "app" : "sent", text(chosen));
}

function draw({ barcode_svg: svg, barcode_uri: uri, secret }) {
  const picture = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  $("barcode").onload = () => URL.revokeObjectURL(picture);
  $("barcode").src = picture;
  $("barcode").alt = text("barcode");
  $("by-hand").open = false;
  $("by-hand-more").textContent = text(secret ? "by_hand_app" : "by_hand_device");
  $("secret").textContent = secret ? secret.replace(/.{4}(?=.)/g, "$& ") : uri;
  $("copy-secret").onclick = () => copy(secret || uri);
}

async function confirm(proof, named = enrollment, name = text(chosen)) {
  const said = await ask("confirm", { ticket, enrollment: named, ...proof });
  if (said.confirmed) showDone(name, said.recovery_codes ?? []);
  return said;
}

/** Ask whether a device has paired, also while another way is looked at: recovery codes are told once. */
async function poll(named, interval) {
  const begun = turn;
  while (ticket) {
    await new Promise((resolve) => setTimeout(resolve, (interval || 5) * 1000));
    try {
      interval = (await confirm({}, named, text("push"))).poll_interval;
    } catch (error) {
      if (error.status !== 0 && error.status !== 429) return turn === begun ? explain(error) : undefined;
      interval = error.retryAfter;
    }
  }
}

function showDone(name, codes) {
  forget();
  ticket = "";
  show("done", text("done"));
  done = true;
  $("done-more").textContent = text("done_more", { name });
  $("recovery").hidden = codes.length === 0;
  $("recovery-codes").replaceChildren(...codes.map(written));
  $("copy-codes").onclick = () => copy(codes.join("\n"));
  $("save-codes").onclick = () => save(codes);
}

function written(code) {
  const [item, shown] = ["li", "code"].map((tag) => document.createElement(tag));
  shown.textContent = code;
  item.append(shown);
  return item;
}

async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
    say(text("copied"));
  } catch {
    say(text("not_copied"));
  }
}

function save(codes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${document.title}\n\n${codes.join("\n")}\n`], { type: "text/plain" }));
  link.download = "recovery-codes.txt";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  say(text("saved"));
}

// --- what the user does -------------------------------------------------------------------------------------------
/** Have a form ask the server with its one field, which may not be empty unless `optional`. */
function onSubmit(form, field, work, { optional = false } = {}) {
  $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    const entered = $(field).value.trim();
    if (!entered && !optional) return fail(text("empty"), $(field));
    during(() => work(entered), optional ? undefined : $(field));
  });
}

onSubmit("phone", "phone-number", (number) => begin({ phone_number: number.replace(/[\s()./-]/g, "") }));
onSubmit("email", "email-address", (email) => begin({ email }));
onSubmit("key", "key-name", (name) => begin({ name }), { optional: true });
onSubmit("code", "code-value", (code) => confirm({ code: code.replace(/\s/g, "") }));
$("resend").addEventListener("click", () => during(() => begin(wanted)));
$("again").addEventListener("click", () => during(open));
$("back").addEventListener("click", () => {
  if (!busy) showChoices();
});

// The address is cleared before anything else is asked for: nothing that is loaded later learns the ticket from it.
ticket = new URLSearchParams(location.search).get("ticket") ?? "";
history.replaceState(null, "", location.pathname);
try {
  await load();
  const contact = document.querySelector("meta[name=contact]").content;
  if (contact) $("contact").textContent = text("contact", { contact });
  else $("contact").remove();
  if (ticket) await during(open);
  else showEnd(text("ended_more"));
} catch {
  fail("This page did not load. Open the link again."); // the words in other languages are what is missing
}
