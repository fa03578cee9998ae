const NAMES = [
  'host',
  'upgrade',
  'connection',
  'sec-websocket-key',
  'sec-websocket-version',
  'transfer-encoding',
  'content-length',
  'origin',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
] as const;

/** The headers that the checks of a request look at. */
export type FieldName = (typeof NAMES)[number];

const NONE: readonly string[] = Object.freeze([]);

/** By their lengths, so that most other headers need no look at their letters. */
const BY_LENGTH: readonly (readonly FieldName[])[] = Array.from(
  { length: 1 + Math.max(...NAMES.map((name) => name.length)) },
  (_, length) => NAMES.filter((name) => name.length === length),
);

/** The lines of those headers, one value for each line, in their order; nothing is merged. */
export class Fields {
  /** Names and values in turn. */
  private readonly lines: string[] = [];

  constructor(rawHeaders: readonly string[]) {
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = known(rawHeaders[i]!);
      if (name !== undefined) this.lines.push(name, rawHeaders[i + 1]!);
    }
  }

  /** Empty when the header is missing. */
  all(name: FieldName): readonly string[] {
    let values: string[] | undefined;
    for (let i = 0; i < this.lines.length; i += 2) if (this.lines[i] === name) (values ??= []).push(this.lines[i + 1]!);
    return values ?? NONE;
  }

  /** The value where there is exactly one line. */
  only(name: FieldName): string | undefined {
    let value: string | undefined;
    for (let i = 0; i < this.lines.length; i += 2) {
      if (this.lines[i] !== name) continue;
      if (value !== undefined) return undefined;
      value = this.lines[i + 1];
    }
    return value;
  }
}

function known(name: string): FieldName | undefined {
  const candidates = BY_LENGTH[name.length];
  if (candidates === undefined || candidates.length === 0) return undefined;
  const lower = name.toLowerCase();
  return candidates.find((candidate) => candidate === lower);
}
