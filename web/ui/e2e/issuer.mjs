// An OpenID Connect issuer with one user and one public client, for a browser to be sent to.
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createServer } from 'node:http';

const b64 = (v) => Buffer.from(typeof v === 'string' ? v : JSON.stringify(v)).toString('base64url');

/** `user` are the claims of whoever signs in; `client` is the client's id. */
export async function startIssuer(client, user) {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const codes = new Map();
  const server = createServer(async (request, answer) => {
    const at = new URL(request.url, url), q = at.searchParams;
    const json = (v, status = 200) => answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(v));
    switch (`${request.method} ${at.pathname}`) {
      case 'GET /.well-known/openid-configuration':
        return json({ issuer: url, authorization_endpoint: `${url}/auth`, token_endpoint: `${url}/token`, jwks_uri: `${url}/keys` });
      case 'GET /keys':
        return json({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: '1', use: 'sig', alg: 'EdDSA' }] });
      case 'GET /auth': { // who comes here may sign in, or not
        if (q.get('client_id') !== client || q.get('code_challenge_method') !== 'S256') return answer.writeHead(400).end();
        const code = randomUUID(), back = (more) => `${q.get('redirect_uri')}?${new URLSearchParams({ state: q.get('state'), ...more })}`.replaceAll('&', '&amp;');
        codes.set(code, { challenge: q.get('code_challenge'), nonce: q.get('nonce'), redirect: q.get('redirect_uri') });
        return answer.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><html lang="en"><title>Issuer</title><link rel="icon" href="data:,">
          <h1>Is it you?</h1><p><a href="${back({ code })}">Yes</a> <a href="${back({ error: 'access_denied', error_description: 'no' })}">No</a></p>`);
      }
      case 'POST /token': {
        let body = '';
        for await (const part of request) body += part;
        const form = new URLSearchParams(body), grant = codes.get(form.get('code'));
        codes.delete(form.get('code'));
        const right = grant?.redirect === form.get('redirect_uri') && createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url') === grant.challenge;
        if (!right || form.get('client_id') !== client) return json({ error: 'invalid_grant' }, 400);
        const now = Math.floor(Date.now() / 1000);
        const text = `${b64({ alg: 'EdDSA', kid: '1' })}.${b64({ iss: url, aud: client, iat: now, exp: now + 60, nonce: grant.nonce, ...user })}`;
        return json({ access_token: 'a', token_type: 'Bearer', id_token: `${text}.${sign(null, Buffer.from(text), privateKey).toString('base64url')}` });
      }
      default:
        return answer.writeHead(404).end();
    }
  });
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, close: () => { server.closeAllConnections(); server.close(); } };
}
