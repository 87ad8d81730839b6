// Security keys and passkeys, also in browsers that came before parseCreationOptionsFromJSON and toJSON.

/** Tell whether this browser can make a credential on this page. */
export const supported = () => window.isSecureContext && "PublicKeyCredential" in window;

/**
 * Have the user make a credential.
 * @param options PublicKeyCredentialCreationOptionsJSON (WebAuthn Level 3 section 5.4)
 * @returns RegistrationResponseJSON (section 5.1); rejects with the browser's DOMException
 */
export async function create(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON?.(options) ?? parsed(options);
  const credential = await navigator.credentials.create({ publicKey });
  return credential.toJSON?.() ?? written(credential);
}

function parsed(options) {
  return {
    ...options,
    challenge: octets(options.challenge),
    user: { ...options.user, id: octets(options.user.id) },
    excludeCredentials: (options.excludeCredentials ?? []).map((known) => ({ ...known, id: octets(known.id) })),
  };
}

function written(credential) {
  const { response } = credential;
  return {
    id: credential.id,
    rawId: base64url(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: {
      clientDataJSON: base64url(response.clientDataJSON),
      attestationObject: base64url(response.attestationObject),
      transports: response.getTransports?.() ?? [],
    },
  };
}

function octets(encoded) {
  const binary = atob(encoded.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function base64url(buffer) {
  const binary = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
