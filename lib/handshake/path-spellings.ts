/** Times that a path is decoded as a whole: libraries decode once, some twice. */
const MAX_DECODINGS = 2;

/** A segment of a pattern: its text as `read()` makes it, or `undefined` where any text fits. */
type Segment = string | undefined;

interface Entry {
  readonly segments: readonly Segment[];
  /** Everything below it, too. */
  readonly isOpen: boolean;
}

/**
 * Paths that a library may take for one of a list although they are written differently: with percent-encoded letters,
 * dot segments, backslashes, doubled or trailing slashes, other case, or path parameters behind `;`. Our own comparison
 * is byte for byte, but find-my-way (Fastify, Mercurius) decodes a path before it looks for a route, and libraries that
 * use `new URL()` (Vite) resolve dot segments: a path that only they take for theirs would pass by the guards.
 */
export class PathSpellings {
  /** By first segment; `undefined` where any text fits, or where there is none. */
  private readonly entries = new Map<Segment, Entry[]>();

  /** A path or pattern as `Router` takes it; `isPrefix`: everything below it, too. */
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

  /** Whether a raw path, without its query, can be read as one of the list. More is said to be one rather than less. */
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

/** Where a path ends for a library that knows fragments, or parameters of a path. */
function endOf(text: string): number {
  const ends = ['?', '#', ';'].map((each) => text.indexOf(each)).filter((at) => at >= 0);
  return Math.min(text.length, ...ends);
}

/**
 * The segments of a path, each decoded, without its dot segments (RFC 3986, section 5.2.4). `keepsEmpty`: `..` takes an
 * empty segment away as well as any other; otherwise slashes that follow each other are one.
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

/** Where the encoding is broken, what is not. */
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
