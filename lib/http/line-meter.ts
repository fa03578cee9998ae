import { COLON, CR, FIELD_BYTES, LF, NO_BYTES, PRINTABLE_BYTES, SP, skipField, TOKEN_BYTES } from './grammar.js';
import type { HeadFault, HeadKind, HeadLimits } from './head.js';

/** Maximum number of empty lines before a request line (RFC 9112, section 2.2: "at least one"). */
const MAX_EMPTY_LINES = 2;

enum State {
  Before,
  BeforeLf,
  Method,
  Request,
  Status,
  StartLf,
  Line,
  Name,
  Value,
  LineLf,
  EndLf,
  Complete,
  Faulted,
}

/** The bytes that do not change a state: long runs of them are skipped in a tight loop. */
const PLAIN: readonly Uint8Array[] = (() => {
  const tables: Uint8Array[] = Array.from({ length: State.Faulted + 1 }, () => NO_BYTES);
  tables[State.Method] = TOKEN_BYTES;
  tables[State.Request] = PRINTABLE_BYTES;
  tables[State.Status] = FIELD_BYTES;
  tables[State.Name] = TOKEN_BYTES;
  tables[State.Value] = FIELD_BYTES;
  return tables;
})();

/**
 * Measures the lines of a head, byte by byte (RFC 9112, sections 2 to 5): lengths, number, CRLF as the only line end,
 * no folding, only valid bytes. The result depends only on the bytes, not on how they were split into chunks. It stores
 * no bytes.
 */
export class LineMeter {
  /** The first error, found at the first byte that shows it. */
  fault: HeadFault | undefined;
  /** Bytes of the empty lines before the start line. */
  leading = 0;
  private state: State;
  /** Bytes of the current line so far. */
  private length = 0;
  private lines = 0;
  private heads = 0;

  constructor(
    private readonly limits: HeadLimits,
    private readonly kind: HeadKind,
  ) {
    this.state = this.firstState();
  }

  get complete(): boolean {
    return this.state === State.Complete;
  }

  /**
   * Starts with the next head of the same connection. Header lines are still counted together, and there may be at most
   * as many heads as lines.
   */
  next(): void {
    this.state = this.firstState();
    this.length = 0;
    this.leading = 0;
    if (++this.heads > this.limits.maxNumHeaders) this.state = this.fail('too-many-lines');
  }

  /** Reads until the end of the head, an error, or the end of the chunk; returns the number of bytes read. */
  read(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && this.state < State.Complete) {
      at = this.skipPlain(chunk, at);
      if (at === chunk.length) break;
      this.state = this.length++ < this.limits.maxLineLength ? this.after(chunk[at++]!) : this.tooLong();
    }
    return at;
  }

  private skipPlain(chunk: Buffer, from: number): number {
    const plain = PLAIN[this.state]!;
    const end = Math.min(chunk.length, from + this.limits.maxLineLength - this.length);
    let at = from;
    if (plain === FIELD_BYTES) at = skipField(chunk, from, end);
    else while (at < end && plain[chunk[at]!] === 1) at++;
    this.length += at - from;
    return at;
  }

  /** The state after a byte that changes the state. */
  private after(byte: number): State {
    switch (this.state) {
      case State.Before:
        return this.begin(byte);
      case State.BeforeLf:
        return byte === LF ? this.emptyLine() : this.fail('malformed');
      case State.Method:
        return byte === SP ? State.Request : this.fail('malformed');
      case State.Request:
      case State.Status:
        return byte === CR ? State.StartLf : this.fail('malformed');
      case State.StartLf:
      case State.LineLf:
        return byte === LF ? this.newLine() : this.fail('malformed');
      case State.Line:
        return byte === CR ? State.EndLf : this.headerLine(byte);
      case State.Name:
        return byte === COLON ? State.Value : this.fail('malformed');
      case State.Value:
        return byte === CR ? State.LineLf : this.fail('malformed');
      case State.EndLf:
        return byte === LF ? State.Complete : this.fail('malformed');
      case State.Complete:
      case State.Faulted:
        return this.state;
    }
  }

  private firstState(): State {
    return this.kind === 'request' ? State.Before : State.Status;
  }

  private begin(byte: number): State {
    if (TOKEN_BYTES[byte] === 1) return State.Method;
    return byte === CR && this.leading < 2 * MAX_EMPTY_LINES ? State.BeforeLf : this.fail('malformed');
  }

  private emptyLine(): State {
    this.leading += 2;
    this.length = 0;
    return State.Before;
  }

  private newLine(): State {
    this.length = 0;
    return State.Line;
  }

  /**
   * The first byte of a header line. White space would be a folded line, a colon an empty name (RFC 9112, section 5).
   */
  private headerLine(byte: number): State {
    if (TOKEN_BYTES[byte] !== 1) return this.fail('malformed');
    return ++this.lines > this.limits.maxNumHeaders ? this.fail('too-many-lines') : State.Name;
  }

  private tooLong(): State {
    return this.fail(this.state < State.Line ? 'start-line-too-long' : 'line-too-long');
  }

  private fail(fault: HeadFault): State {
    this.fault = fault;
    return State.Faulted;
  }
}
