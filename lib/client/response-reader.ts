import { lowerCaseHeaders } from '../http/fields.js';
import { COMPLETE, FAULT, type HeadFault, MORE } from '../http/head.js';
import { HeadMeter } from '../http/head-meter.js';
import { parseResponseHead, type ResponseHead } from '../http/head-parser.js';
import { ByteAccumulator } from '../http/partial-head.js';
import { type BodyReader, bodyReader } from './body-reader.js';
import {
  BodyTooLargeError,
  HandshakeError,
  InvalidHandshakeError,
  LineTooLongError,
  TooManyHeadersError,
} from './errors.js';

export interface ResponseLimits {
  readonly maxLineLength: number;
  readonly maxNumHeaders: number;
  readonly maxBodySize: number;
}

/** A final response; for a 101 or a redirect only its head is read. */
export interface Response {
  readonly head: ResponseHead;
  readonly body: Buffer;
  /** For a 101: the bytes that arrived after the head. */
  readonly rest: Buffer;
}

const NOTHING = Buffer.alloc(0);
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** The target of a redirect; `undefined` if the response is not a redirect. */
export const locationOf = ({ status, rawHeaders }: ResponseHead): string | undefined =>
  REDIRECTS.has(status) ? lowerCaseHeaders(rawHeaders)['location'] : undefined;

const hasSeveralLocations = ({ rawHeaders }: ResponseHead): boolean =>
  rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'location').length > 1;

/**
 * Parses a server's response as it arrives, and decides as early as possible what it is. It has no socket and no clock,
 * never throws, and stores no more than the limits allow.
 */
export class ResponseReader {
  private readonly meter: HeadMeter;
  private head: ResponseHead | undefined;
  private reader: BodyReader | undefined;
  private readonly body = new ByteAccumulator();

  constructor(private readonly limits: ResponseLimits) {
    this.meter = new HeadMeter(limits, { kind: 'response' });
  }

  /** Parses a chunk; returns `undefined` if more bytes are needed. */
  push(chunk: Buffer): Response | HandshakeError | undefined {
    return this.head === undefined ? this.pushHead(chunk) : this.pushBody(this.head, chunk);
  }

  /**
   * Called when the server has half-closed: returns the response so far, or `undefined` if even its head is incomplete.
   */
  end(): Response | undefined {
    return this.head && this.finish(this.head);
  }

  private pushHead(chunk: Buffer): Response | HandshakeError | undefined {
    for (;;) {
      const verdict = this.meter.push(chunk);
      if (verdict === MORE) return undefined;
      // protection: client: limits of the response head
      if (verdict === FAULT) return errorOf(this.meter.fault!, this.limits);
      // end protection
      if (verdict !== COMPLETE) return new InvalidHandshakeError('unexpected response');
      const head = parseResponseHead(this.meter.head);
      const { rest } = this.meter;
      if (head === 'malformed') return errorOf('malformed', this.limits);
      if (head.status >= 200 || head.status === 101) return this.final(head, rest);
      this.meter.next();
      chunk = rest;
    }
  }

  /** Handles a final head, as opposed to an interim response (1xx; RFC 9110, section 15.2). */
  private final(head: ResponseHead, rest: Buffer): Response | HandshakeError | undefined {
    // protection: client: one place to go
    if (REDIRECTS.has(head.status) && hasSeveralLocations(head))
      return new InvalidHandshakeError("a redirect with more than one 'Location'");
    // end protection
    if (head.status === 101 || locationOf(head) !== undefined) return { head, body: NOTHING, rest };
    this.head = head;
    this.reader = bodyReader(head, this.limits.maxLineLength);
    if (this.reader.length !== undefined && this.reader.length > this.limits.maxBodySize) return this.tooLarge(head);
    return this.pushBody(head, rest);
  }

  private pushBody(head: ResponseHead, chunk: Buffer): Response | HandshakeError | undefined {
    const reader = this.reader!;
    let tooLarge = false;
    const ended = reader.read(chunk, (data) => {
      // protection: client: body of a refusal
      tooLarge ||= this.body.length + data.length > this.limits.maxBodySize;
      // end protection
      if (!tooLarge) this.body.append(data);
    });
    if (tooLarge) return this.tooLarge(head);
    return ended ? this.finish(head) : undefined;
  }

  private tooLarge(head: ResponseHead): BodyTooLargeError {
    this.body.drop();
    return new BodyTooLargeError(this.limits.maxBodySize, head.status);
  }

  private finish(head: ResponseHead): Response {
    return { head, body: this.body.take(NOTHING), rest: NOTHING };
  }
}

function errorOf(fault: HeadFault, { maxLineLength, maxNumHeaders }: ResponseLimits): HandshakeError {
  switch (fault) {
    case 'start-line-too-long':
    case 'line-too-long':
      return new LineTooLongError(maxLineLength);
    case 'too-many-lines':
      return new TooManyHeadersError(maxNumHeaders);
    case 'malformed':
      return new InvalidHandshakeError('the server does not answer with HTTP/1.1');
  }
}
