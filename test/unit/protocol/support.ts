import type { ProtocolError, Role } from '../../../lib/protocol/frame.js';
import { type FrameLimits, FrameParser, type FrameSink } from '../../../lib/protocol/parser.js';
import { frame } from '../../support/raw-client.js';

/** An event of a parser, as a value. */
export type ParserEvent =
  | ['text', string]
  | ['binary', string]
  | ['compressed', string, 'text' | 'binary']
  | ['fragment']
  | ['ping', string]
  | ['pong', string]
  | ['close', number, string]
  | ['error', number, string];

export const LIMITS: FrameLimits = { maxSize: 1024 * 1024, maxFragments: 1024 };

/** Records parser events; `onEach` runs within the callback. */
export class Recorder implements FrameSink {
  readonly events: ParserEvent[] = [];
  lastError: ProtocolError | undefined;

  constructor(private readonly onEach: (event: ParserEvent) => void = () => {}) {}

  message(data: Buffer, isBinary: boolean, isCompressed: boolean): void {
    if (isCompressed) this.note(['compressed', data.toString('hex'), isBinary ? 'binary' : 'text']);
    else this.note(isBinary ? ['binary', data.toString('hex')] : ['text', data.toString()]);
  }
  fragment(): void {
    this.note(['fragment']);
  }
  ping(data: Buffer): void {
    this.note(['ping', data.toString('hex')]);
  }
  pong(data: Buffer): void {
    this.note(['pong', data.toString('hex')]);
  }
  close(code: number, reason: Buffer): void {
    this.note(['close', code, reason.toString()]);
  }
  error(error: ProtocolError): void {
    this.lastError = error;
    this.note(['error', error.code, error.errorCode]);
  }

  private note(event: ParserEvent): void {
    this.events.push(event);
    this.onEach(event);
  }
}

export interface ParseOptions {
  readonly role?: Role;
  readonly limits?: Partial<FrameLimits>;
  readonly deflate?: boolean;
}

export function parserOf(
  sink: FrameSink,
  { role = 'server', limits, deflate = false }: ParseOptions = {},
): FrameParser {
  return new FrameParser(role, { ...LIMITS, ...limits }, sink, deflate);
}

/** All parser events of these chunks. Each chunk is copied, because a parser unmasks in place. */
export function parse(chunks: readonly Buffer[], options: ParseOptions = {}): ParserEvent[] {
  const recorder = new Recorder();
  const parser = parserOf(recorder, options);
  for (const chunk of chunks) parser.push(copy(chunk));
  return recorder.events;
}

export function copy(bytes: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}

/** `bytes` in pieces of `size`. */
export function pieces(bytes: Buffer, size = 1): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) all.push(bytes.subarray(at, at + size));
  return all;
}

export const plain = (payload: string | Buffer, options: Parameters<typeof frame>[1] = {}): Buffer =>
  frame(payload, { ...options, masked: false });

export { frame };
