/** Number of times that a path is decoded as a whole: libraries decode once, some of them twice. */
const MAX_DECODINGS = 2;

/** A segment of a pattern: its text as `read()` returns it, or `undefined` if any text matches. */
type Segment = string | undefined;

interface Entry {
  readonly segments: readonly Segment[];
  /** Everything below the path matches, too. */
  readonly isOpen: boolean;
}

/**
 * Detects paths that a library may treat as one of a list although they are written differently: with percent-encoded
 * letters, dot segments, backslashes, doubled or trailing slashes, another case, or path parameters after `;`. This
 * library compares byte for byte, but find-my-way (Fastify, Mercurius) decodes a path before it looks for a route, and
 * libraries that use `new URL()` (Vite) resolve dot segments: such a path would reach them without passing the guards.
 */
export class PathSpellings {
  /** By first segment; `undefined` if any text matches, or if there is no segment. */
  private readonly entries = new Map<Segment, Entry[]>();

  /** A path or pattern, as for `Router`; `isPrefix`: everything below it matches, too. */
  add(pattern: string, isPrefix: boolean): void {
    const texts = pattern.split('/').filter((text) => text !== '');
    const isRest = texts.at(-1)?.startsWith('*') === true;
    const segments = texts.map((text) => (/^[:*]/.test(text) ? undefined : readSegment(text)));
    const [first] = segments;
    const entry = { segments, isOpen: isPrefix || isRest };
    const others = this.entries.get(first);
    if (others === undefined) this.entries.set(first, [entry]);
    else others.push(entry);
  }

  /** Whether a raw path, without its query, can be read as one of the list. In doubt it returns true. */
  includes(path: string): boolean {
    if (this.entries.size === 0) return false;
    let text = path;
    for (let decodings = 0; ; decodings++) {
      const end = endOf(text);
      for (const each of end < text.length ? [text, text.slice(0, end)] : [text])
        if (this.fits(read(each, false)) || this.fits(read(each, true))) return true;
      if (decodings === MAX_DECODINGS || !text.includes('%')) return false;
      text = decode(text);
    }
  }

  private fits(path: readonly string[]): boolean {
    const [first] = path;
    return (
      isAmong(this.entries.get(undefined), path) || (first !== undefined && isAmong(this.entries.get(first), path))
    );
  }
}

const isAmong = (entries: readonly Entry[] = [], path: readonly string[]): boolean =>
  entries.some(
    ({ segments, isOpen }) =>
      (isOpen ? path.length >= segments.length : path.length === segments.length) &&
      segments.every((segment, at) => segment === undefined || segment === path[at]),
  );

/** The end of a path for a library that supports fragments, or path parameters. */
function endOf(text: string): number {
  const ends = ['?', '#', ';'].map((each) => text.indexOf(each)).filter((at) => at >= 0);
  return Math.min(text.length, ...ends);
}

/**
 * The segments of a path, each decoded, without dot segments (RFC 3986, section 5.2.4). `keepsEmpty`: `..` removes an
 * empty segment like any other; otherwise consecutive slashes count as one.
 */
function read(path: string, keepsEmpty: boolean): string[] {
  const segments: string[] = [];
  for (const raw of path.replaceAll('\\', '/').slice(1).split('/')) {
    const segment = readSegment(raw);
    if (segment === '..') segments.pop();
    else if (segment !== '.' && (keepsEmpty || segment !== '')) segments.push(segment);
  }
  return keepsEmpty ? segments.filter((segment) => segment !== '') : segments;
}

const readSegment = (raw: string): string => decode(raw).toLowerCase();

/** Decodes the valid parts if the encoding is partly invalid. */
function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return decodeAscii(text);
  }
}

function decodeAscii(text: string): string {
  const parts = text.split('%');
  return parts.reduce((before, part) => {
    const code = part.length < 2 ? Number.NaN : Number(`0x${part.slice(0, 2)}`);
    return code < 0x80 ? `${before}${String.fromCharCode(code)}${part.slice(2)}` : `${before}%${part}`;
  });
}
