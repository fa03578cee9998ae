// @ts-nocheck
import { lowerCaseHeaders } from '../http/fields.js';
import type { ResponseHead } from '../http/head-parser.js';

/** The server, or the way to it, did not lead to an open WebSocket. */
export class HandshakeError extends Error {
  override readonly name: string = 'HandshakeError';
}

/** The status line or a header line of a response is longer than `http.maxLineLength`. */
export class LineTooLongError extends HandshakeError {
  override readonly name = 'LineTooLongError';

  constructor(readonly limit: number) {
    super(`a line of the response head is longer than ${limit} bytes`);
  }
}

/** The responses before the handshake's end have more header lines together than `http.maxNumHeaders`. */
export class TooManyHeadersError extends HandshakeError {
  override readonly name = 'TooManyHeadersError';

  constructor(readonly limit: number) {
    super(`the response has more than ${limit} header lines`);
  }
}

/** The body of a response that is not a 101 has, or announces, more bytes than `http.maxBodySize`. */
export class BodyTooLargeError extends HandshakeError {
  override readonly name = 'BodyTooLargeError';

  constructor(
    readonly limit: number,
    readonly status: number,
  ) {
    super(`the body of the response with status ${status} is larger than ${limit} bytes`);
  }
}

/** The server answered, and not with a 101. */
export class UnexpectedStatusError extends HandshakeError {
  override readonly name = 'UnexpectedStatusError';
  readonly status: number;
  /** The reason phrase; may be empty. */
  readonly reason: string;
  /** By their names in lower case; lines of one name are joined with `, `. */
  readonly headers: Readonly<Record<string, string>>;

  /** @hidden */
  constructor(
    head: ResponseHead,
    /** Up to `http.maxBodySize`; what had come where the server closed too early. */
    readonly body: Buffer,
  ) {
    super(`the server answered with status ${head.status}`);
    this.status = head.status;
    this.reason = head.reason;
    this.headers = lowerCaseHeaders(head.rawHeaders);
  }
}

/** What the server sent is no HTTP response, or a 101 that does not answer our request (RFC 6455, section 4.1). */
export class InvalidHandshakeError extends HandshakeError {
  override readonly name = 'InvalidHandshakeError';
}

/** More redirects than `client.maxRedirects`. */
export class TooManyRedirectsError extends HandshakeError {
  override readonly name = 'TooManyRedirectsError';

  constructor(readonly limit: number) {
    super(`more than ${limit} redirects`);
  }
}

/** A redirect to where the client does not go. */
export class RedirectRefusedError extends HandshakeError {
  override readonly name = 'RedirectRefusedError';
}

/** The handshake was not complete within `http.openTimeout`. */
export class OpenTimeoutError extends HandshakeError {
  override readonly name = 'OpenTimeoutError';

  constructor(
    /** Milliseconds. */
    readonly timeout: number,
  ) {
    super(`the handshake handshake was not complete within ${timeout} ms`);
  }
}
