/** What one hop said (RFC 7239, section 5); only what is used here. */
export interface ForwardedElement {
  readonly for?: string;
  readonly proto?: string;
}

const PAIR = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,=]*))[ \t]*(?:;[ \t]*|$)/y;

/** Reads one element of a `Forwarded` list; `undefined` where it is malformed or names a parameter twice (section 4). */
export function parseForwardedElement(element: string): ForwardedElement | undefined {
  const pairs = new Map<string, string>();
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < element.length) {
    const pair = PAIR.exec(element);
    if (pair === null) return undefined;
    const name = pair[1]!.toLowerCase();
    if (pairs.has(name)) return undefined;
    pairs.set(name, pair[2]?.replace(/\\(.)/g, '$1') ?? pair[3]!);
  }
  return { for: pairs.get('for'), proto: pairs.get('proto') };
}
