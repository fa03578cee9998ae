import { COLON, COMMA, CR, isWhiteSpace, LF, LOWER_CASE, TOKEN_BYTES } from './grammar.js';
import { CONNECT } from './whole-head.js';

enum State {
  Before,
  Method,
  Skip,
  AfterCr,
  LineStart,
  Name,
  NameEnd,
  Value,
  Said,
  Ordinary,
}

const NAME = Buffer.from('upgrade');
const TOKEN = Buffer.from('websocket');
/** The progress value for a word that does not match. */
const OTHER = -1;

/**
 * Scans a head on a shared port for a header line `Upgrade` whose list contains `websocket`. It is deliberately more
 * tolerant about line ends, folding and white space than any parser, so that it does not miss an upgrade that another
 * parser would find. It does not check whether the head is valid.
 */
export class UpgradeSniffer {
  private state: State = State.Before;
  /** Number of matched bytes of the method, the name or the token. */
  private matched = 0;
  private inUpgrade = false;

  /** The head contains `Upgrade: websocket`. */
  get isUpgrade(): boolean {
    return this.state === State.Said;
  }

  /** The head has ended, or is not a head, without `Upgrade: websocket`. */
  get isOrdinary(): boolean {
    return this.state === State.Ordinary;
  }

  /** Reads until the result is known, or to the end of the chunk; returns the number of bytes read. */
  read(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && this.state < State.Said) {
      if (this.state === State.Skip) at = skipLine(chunk, at);
      if (at < chunk.length) this.state = this.after(chunk[at++]!);
    }
    return at;
  }

  private after(byte: number): State {
    switch (this.state) {
      case State.Before:
        if (byte === CR || byte === LF) return State.Before;
        return this.method(byte);
      case State.Method:
        if (!isWhiteSpace(byte)) return this.method(byte);
        return this.matched === CONNECT.length ? State.Ordinary : State.Skip;
      case State.Skip:
        return afterLine(byte);
      case State.AfterCr:
        return byte === LF ? State.LineStart : this.lineStart(byte);
      case State.LineStart:
        return this.lineStart(byte);
      case State.Name:
        return this.name(byte);
      case State.NameEnd:
        return this.nameEnd(byte);
      case State.Value:
        return this.value(byte);
      case State.Said:
      case State.Ordinary:
        return this.state;
    }
  }

  /** CONNECT asks for a tunnel, whatever its fields are. */
  private method(byte: number): State {
    this.matched = byte === CONNECT[this.matched] ? this.matched + 1 : OTHER;
    return TOKEN_BYTES[byte] === 1 ? State.Method : State.Ordinary;
  }

  /** An empty line ends the head; white space continues the previous header (folding). */
  private lineStart(byte: number): State {
    this.matched = 0;
    if (byte === CR || byte === LF) return State.Ordinary;
    if (isWhiteSpace(byte)) return this.inUpgrade ? State.Value : State.Skip;
    this.inUpgrade = false;
    return this.name(byte);
  }

  private name(byte: number): State {
    if ((byte | LOWER_CASE) !== NAME[this.matched]) return otherLine(byte);
    return ++this.matched === NAME.length ? State.NameEnd : State.Name;
  }

  private nameEnd(byte: number): State {
    if (isWhiteSpace(byte)) return State.NameEnd;
    if (byte !== COLON) return otherLine(byte);
    this.inUpgrade = true;
    this.matched = 0;
    return State.Value;
  }

  private value(byte: number): State {
    const ends = byte === COMMA || byte === CR || byte === LF;
    if (ends && this.matched === TOKEN.length) return State.Said;
    this.matched = ends ? 0 : progress(this.matched, byte);
    return byte === CR || byte === LF ? afterLine(byte) : State.Value;
  }
}

const afterLine = (byte: number): State => (byte === CR ? State.AfterCr : State.LineStart);

const otherLine = (byte: number): State => (byte === CR || byte === LF ? afterLine(byte) : State.Skip);

function skipLine(chunk: Buffer, from: number): number {
  let at = from;
  while (at < chunk.length && chunk[at] !== CR && chunk[at] !== LF) at++;
  return at;
}

/** One more byte of a list element: white space around the token is ignored, all other bytes must match. */
function progress(matched: number, byte: number): number {
  if (isWhiteSpace(byte)) return matched === 0 || matched === TOKEN.length ? matched : OTHER;
  return (byte | LOWER_CASE) === TOKEN[matched] ? matched + 1 : OTHER;
}
