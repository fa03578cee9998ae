import { lowerCaseHeaders } from '../http/fields.js';
import type { ResponseHead } from '../http/head-parser.js';

/** The connection attempt failed: because of the server, or of something on the way to it. */
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

/** The responses up to the end of the handshake have more header lines in total than `http.maxNumHeaders`. */
export class TooManyHeadersError extends HandshakeError {
  override readonly name = 'TooManyHeadersError';

  constructor(readonly limit: number) {
    super(`the response has more than ${limit} header lines`);
  }
}

/** The body of a response other than a 101 has, or announces, more bytes than `http.maxBodySize`. */
export class BodyTooLargeError extends HandshakeError {
  override readonly name = 'BodyTooLargeError';

  constructor(
    readonly limit: number,
    readonly status: number,
  ) {
    super(`the body of the response with status ${status} is larger than ${limit} bytes`);
  }
}

/** The server answered with a status other than 101. */
export class UnexpectedStatusError extends HandshakeError {
  override readonly name = 'UnexpectedStatusError';
  readonly status: number;
  /** The reason phrase; may be empty. */
  readonly reason: string;
  /** Headers by their names in lower case; lines with the same name are joined with `, `. */
  readonly headers: Readonly<Record<string, string>>;

  /** @hidden */
  constructor(
    head: ResponseHead,
    /** At most `http.maxBodySize` bytes; the bytes that had arrived if the server closed too early. */
    readonly body: Buffer,
  ) {
    super(`the server answered with status ${head.status}`);
    this.status = head.status;
    this.reason = head.reason;
    this.headers = lowerCaseHeaders(head.rawHeaders);
  }
}

/**
 * The server's answer is not a valid HTTP response, or is a 101 that does not match our request (RFC 6455, section
 * 4.1).
 */
export class InvalidHandshakeError extends HandshakeError {
  override readonly name = 'InvalidHandshakeError';
}

/** There were more redirects than `client.maxRedirects`. */
export class TooManyRedirectsError extends HandshakeError {
  override readonly name = 'TooManyRedirectsError';

  constructor(readonly limit: number) {
    super(`more than ${limit} redirects`);
  }
}

/** A redirect to a URL that the client does not follow. */
export class RedirectRefusedError extends HandshakeError {
  override readonly name = 'RedirectRefusedError';
}

/** The opening handshake was not complete within `http.openTimeout`. */
export class OpenTimeoutError extends HandshakeError {
  override readonly name = 'OpenTimeoutError';

  constructor(
    /** Milliseconds. */
    readonly timeout: number,
  ) {
    super(`the opening handshake was not complete within ${timeout} ms`);
  }
}
