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

const SLOTS: ReadonlyMap<string, FieldName> = new Map(NAMES.map((name) => [name, name]));

const NONE: readonly string[] = Object.freeze([]);

/** The lines of those headers, one value for each line, in their order; nothing is merged. */
export class Fields {
  private readonly lines = new Map<FieldName, string[]>();

  constructor(rawHeaders: readonly string[]) {
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = SLOTS.get(rawHeaders[i]!.toLowerCase());
      if (name !== undefined) this.add(name, rawHeaders[i + 1]!);
    }
  }

  /** Empty when the header is missing. */
  all(name: FieldName): readonly string[] {
    return this.lines.get(name) ?? NONE;
  }

  /** The value where there is exactly one line. */
  only(name: FieldName): string | undefined {
    const values = this.all(name);
    return values.length === 1 ? values[0] : undefined;
  }

  private add(name: FieldName, value: string): void {
    const values = this.lines.get(name);
    if (values === undefined) this.lines.set(name, [value]);
    else values.push(value);
  }
}
