// An OpenID Connect provider on loopback that can change its keys, stop and come back. The provider
// is the npm package oidc-provider, unmodified.

import { createServer } from "node:http";
import { once } from "node:events";
import { generateKeyPairSync } from "node:crypto";
import { Provider } from "oidc-provider";

const SECRET = "a-secret-of-the-test";

/** Each resource becomes an audience of its own (RFC 8707). */
const AUDIENCES = { "https://gate.example": "lychgate", "https://other.example": "other" };

/** A signing key; the key ID tells which. */
function signingKey(kid, alg) {
  const [kind, options] = alg === "RS256" ? ["rsa", { modulusLength: 2048 }] : ["ec", { namedCurve: "P-256" }];
  const { privateKey } = generateKeyPairSync(kind, options);
  return { ...privateKey.export({ format: "jwk" }), kid, alg, use: "sig" };
}

export class Identity {
  #server;
  #port = 0;
  #handle;
  #keys = [];

  /** `clients` maps a client's ID to its groups. */
  constructor(clients) {
    this.clients = clients;
  }

  async start() {
    this.#server = createServer((request, response) => this.#handle(request, response));
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = this.#server.address().port;
    this.issuer = `http://127.0.0.1:${this.#port}`;
  }

  async stop() {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  /** Signs with a new key from now on; the old ones stay published. */
  rotate(kid, alg) {
    this.#keys = [signingKey(kid, alg), ...this.#keys];
    this.#publish(alg);
  }

  /** Publishes the newest key only. */
  retire() {
    this.#keys = this.#keys.slice(0, 1);
    this.#publish(this.#keys[0].alg);
  }

  #publish(alg) {
    const kid = this.#keys[0].kid;
    const provider = new Provider(this.issuer, {
      clients: Object.keys(this.clients).map((client_id) => ({
        client_id,
        client_secret: SECRET,
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: alg,
      })),
      clientDefaults: { id_token_signed_response_alg: alg },
      extraTokenClaims: (_, token) => ({ groups: this.clients[token.clientId] }),
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: (_, resource) => ({
            accessTokenFormat: "jwt",
            audience: AUDIENCES[resource],
            jwt: { sign: { alg, kid } },
            scope: "delete",
          }),
        },
      },
      jwks: { keys: this.#keys },
      ttl: { ClientCredentials: 600 },
    });
    this.#handle = provider.callback();
  }

  /** An access token, as a client with a secret of its own gets it. */
  async token(client, resource = "https://gate.example") {
    const response = await fetch(`${this.issuer}/token`, {
      method: "POST",
      headers: { authorization: `Basic ${Buffer.from(`${client}:${SECRET}`).toString("base64")}` },
      body: new URLSearchParams({ grant_type: "client_credentials", resource, scope: "delete" }),
    });
    const answer = await response.json();
    if (!answer.access_token) {
      throw new Error(`no token: ${JSON.stringify(answer)}`);
    }
    return answer.access_token;
  }
}
