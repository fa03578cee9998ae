import { describe, expect, it } from '@jest/globals';
import { SecureGateway } from 'nest-secure-ws';
import { isProof, probeProof } from '../../lib/http/probe-consent.js';
import { PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { type HeadOptions, RawClient, type Response, upgradeHead } from '../support/raw-client.js';

const TOKEN = 'test-token-0123456789abcdef0123456789';
const NONCE = 'A'.repeat(43);

@SecureGateway({ path: '/chat' })
class ChatGateway {}

async function answer({ port }: TestApp, head: HeadOptions): Promise<Response> {
  const client = await RawClient.connect({ port });
  const response = await client.upgrade(upgradeHead(port, head));
  client.destroy();
  return response;
}

const asking = (nonce: string | readonly string[]) => ({ 'nest-secure-WS-probe': nonce });

describe.each(PLATFORMS)('consent to a probe on %s', (platform) => {
  it('is proved on the 101 and on refusals', async () => {
    const app = await startApp({ platform, gateways: [ChatGateway], options: { probe: { token: TOKEN } } });
    try {
      for (const [head, status] of [
        [{ path: '/chat' }, 101],
        [{ path: '/nowhere' }, 404],
        [{ path: '/chat', headers: { Origin: 'https://evil.invalid' } }, 403],
        [{ path: '/chat', headers: { 'Sec-WebSocket-Version': '8' } }, 426],
      ] as const) {
        const response = await answer(app, {
          ...head,
          headers: { ...('headers' in head ? head.headers : {}), ...asking(NONCE) },
        });
        const proof = response.headers['nest-secure-ws-probe'];
        expect([response.status, isProof(TOKEN, NONCE, proof)]).toEqual([status, true]);
        expect(isProof(TOKEN, `${NONCE}B`, proof)).toBe(false);
        expect(response.raw).not.toContain(TOKEN);
      }
      // A shared refusal carries no proof of an earlier request.
      expect((await answer(app, { path: '/nowhere' })).headers).not.toHaveProperty('nest-secure-ws-probe');
    } finally {
      await app.close();
    }
  });

  it('answers only one valid nonce', async () => {
    const app = await startApp({ platform, gateways: [ChatGateway], options: { probe: { token: TOKEN } } });
    try {
      for (const nonce of ['', 'short', `${NONCE} `.repeat(2), 'A'.repeat(87), `${NONCE}=`, [NONCE, NONCE]])
        for (const path of ['/chat', '/nowhere'])
          expect((await answer(app, { path, headers: asking(nonce) })).headers).not.toHaveProperty(
            'nest-secure-ws-probe',
          );
    } finally {
      await app.close();
    }
  });

  it('is absent without the option', async () => {
    const app = await startApp({ platform, gateways: [ChatGateway] });
    try {
      for (const path of ['/chat', '/nowhere'])
        expect((await answer(app, { path, headers: asking(NONCE) })).raw.toLowerCase()).not.toContain('probe');
    } finally {
      await app.close();
    }
  });
});

describe('probe.token', () => {
  it('must not be guessable, and is not repeated in the error', async () => {
    for (const token of ['short-canary', 'canary with spaces in it that is long enough', `canary\n${TOKEN}`])
      await expect(startApp({ gateways: [ChatGateway], options: { probe: { token } } })).rejects.toThrow(
        /probe\.token \(WEBSOCKETS_PROBE_TOKEN\): the value \(not shown\) is not a random secret of at least 32/,
      );
  });

  it('is necessary for a proof', () => {
    expect(probeProof(TOKEN, NONCE)).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(isProof(`${TOKEN}x`, NONCE, probeProof(TOKEN, NONCE))).toBe(false);
    for (const proof of [undefined, '', 'A', probeProof(TOKEN, NONCE).slice(1)])
      expect(isProof(TOKEN, NONCE, proof)).toBe(false);
  });
});
