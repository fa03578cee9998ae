import { describe, expect, it } from '@jest/globals';
import * as ws from 'ws';
import {
  CloseCode,
  closePayload,
  defaultReason,
  fitReason,
  isCloseCode,
  MAX_REASON_BYTES,
} from '../../../lib/protocol/close-codes.js';
import { frame, parse } from './support.js';

const { Sender } = ws as unknown as {
  Sender: {
    new (socket: object): { close(code: number | undefined, data: unknown, mask: boolean, done: () => void): void };
  };
};

/** Whether `ws` would send a close frame with this code. */
function wsSends(code: number): boolean {
  try {
    new Sender({ cork() {}, uncork() {}, write() {} }).close(code, '', false, () => {});
    return true;
  } catch {
    return false;
  }
}

describe('close codes (RFC 6455, 7.4)', () => {
  it('are accepted and sent exactly where ws accepts and sends them', () => {
    const wrong: number[] = [];
    for (let code = 0; code < 65536; code++) {
      const payload = Buffer.from([code >> 8, code & 255]);
      const [event] = parse([frame(payload, { opcode: 8 })]);
      const isRead = event?.[0] === 'close';
      const isSent = isCloseCode(code);
      if (isRead !== isSent || isSent !== wsSends(code)) wrong.push(code);
      if (!isRead && event?.[1] !== CloseCode.PROTOCOL_ERROR) wrong.push(code);
    }
    expect(wrong).toEqual([]);
  });

  it.each([1005, 1006, 1015, 1004, 0, 999, 2999, 5000, 1000.5, Number.NaN, -1, '1000', null])(
    'closePayload() refuses %p',
    (code) => {
      expect(isCloseCode(code)).toBe(false);
      expect(() => closePayload(code as number)).toThrow(TypeError);
    },
  );

  it('are encoded in two bytes before the reason', () => {
    expect([closePayload(), closePayload(undefined, '')]).toEqual([Buffer.alloc(0), Buffer.alloc(0)]);
    expect(closePayload(1000)).toEqual(Buffer.from([0x03, 0xe8]));
    expect(closePayload(4999, 'ü')).toEqual(Buffer.from([0x13, 0x87, 0xc3, 0xbc]));
    expect(closePayload(1001, Buffer.from('x'))).toEqual(Buffer.from([0x03, 0xe9, 0x78]));
    expect(closePayload(1000, 'x'.repeat(123)).length).toBe(125);
  });

  it('closePayload() refuses reasons longer than a control frame or not UTF-8', () => {
    expect(() => closePayload(1000, 'x'.repeat(124))).toThrow(RangeError);
    expect(() => closePayload(1000, 'ü'.repeat(62))).toThrow(RangeError);
    expect(() => closePayload(1000, Buffer.from([0xff]))).toThrow(TypeError);
    expect(() => closePayload(undefined, 'x')).toThrow(TypeError);
  });

  it('fitReason() truncates a reason between characters', () => {
    expect(fitReason('short')).toBe('short');
    for (const reason of [undefined, null, 7, {}, Symbol('x'), { toString: () => 'x' }])
      expect(fitReason(reason)).toBe('');
    expect(fitReason('x'.repeat(123))).toBe('x'.repeat(123));
    expect(fitReason('x'.repeat(200))).toBe('x'.repeat(123));
    for (const character of ['é', '€', '🦊']) {
      for (let lead = 0; lead < 4; lead++) {
        const reason = 'x'.repeat(lead) + character.repeat(100);
        const fitted = fitReason(reason);
        expect(reason.startsWith(fitted)).toBe(true);
        expect(Buffer.byteLength(fitted)).toBeLessThanOrEqual(MAX_REASON_BYTES);
        expect(Buffer.byteLength(fitted) + Buffer.byteLength(character)).toBeGreaterThan(MAX_REASON_BYTES);
        expect(closePayload(1000, fitted).toString('utf8', 2)).toBe(fitted);
      }
    }
  });

  it('used by this library all have a default reason', () => {
    for (const code of Object.values(CloseCode)) {
      expect(isCloseCode(code)).toBe(true);
      expect(defaultReason(code)).toMatch(/^[a-z ]{3,30}$/);
    }
    expect([defaultReason(undefined), defaultReason(4000)]).toEqual([undefined, undefined]);
  });
});
