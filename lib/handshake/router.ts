import { detach } from '../http/grammar.js';

/** Decoded values of a path's parameters, by name, without a prototype. */
export type PathParams = Readonly<Record<string, string>>;

/** The route of a path. */
export interface RouteMatch<T> {
  readonly value: T;
  /** The pattern as the application wrote it, such as `/rooms/:id`. */
  readonly pattern: string;
  readonly params: PathParams;
}

/** The result for a path whose route has a parameter that is not valid percent-encoded UTF-8, or too long. */
export const MALFORMED_PATH = Symbol('malformed path');

export const MAX_PARAMS = 16;
/** Maximum length of a parameter's decoded value in characters. */
export const MAX_PARAM_LENGTH = 256;

const NO_PARAMS: PathParams = Object.freeze(Object.create(null));

type Segment = string | { readonly name: string; readonly isRest: boolean };

type Place = 'route' | 'rest' | 'prefix';

const isLiteral = (segments: readonly Segment[]): segments is readonly string[] =>
  segments.every((segment) => typeof segment === 'string');

interface Route<T> {
  readonly value: T;
  readonly pattern: string;
  readonly segments: readonly Segment[];
  /** The match of a route without parameters is reused. */
  readonly match: RouteMatch<T> | undefined;
}

class Node<T> {
  /** Child nodes by segment, compared byte for byte. */
  literals: Map<string, Node<T>> | undefined = undefined;
  parameter: Node<T> | undefined = undefined;
  /** The route that ends at this node. */
  route: Route<T> | undefined = undefined;
  /** The route whose wildcard matches one or more further segments. */
  rest: Route<T> | undefined = undefined;
  /** The route that matches whatever follows the slash, including nothing. */
  prefix: Route<T> | undefined = undefined;
}

/**
 * Maps paths to routes: literal segments, `:name` for one segment, `*name` for all remaining ones (the syntax of Nest's
 * controllers). At each segment a literal takes precedence over a parameter, and a parameter over a wildcard, whatever
 * the order in which they were added. A lookup splits the path at its raw slashes, compares literals byte for byte and
 * decodes each parameter once; it visits each node at most once and uses no regular expression.
 */
export class Router<T> {
  private readonly root = new Node<T>();
  /** Literal routes; most applications have no others. */
  private readonly literals = new Map<string, RouteMatch<T>>();
  private hasPatterns = false;

  /** Adds a route. Returns an error text if it is invalid or ambiguous; it is not added then. */
  add(pattern: string, value: T): string | undefined {
    const segments = parsePattern(pattern);
    if (typeof segments === 'string') return segments;
    const isRest = segments.some((segment) => typeof segment !== 'string' && segment.isRest);
    return this.put(isRest ? 'rest' : 'route', pattern, segments, value);
  }

  /** Adds a route for a literal path that ends with a slash, and for everything below it. */
  addPrefix(path: string, value: T): string | undefined {
    const segments = path.endsWith('/') ? parsePattern(path) : `'${path}' must end with a slash`;
    if (typeof segments === 'string') return segments;
    if (!isLiteral(segments)) return `'${path}' has a parameter: a prefix must be a literal path`;
    return this.put('prefix', path, segments.slice(0, -1), value);
  }

  /** The route of a raw path, which begins with a slash and has no query. */
  find(path: string): RouteMatch<T> | typeof MALFORMED_PATH | undefined {
    const literal = this.literals.get(path);
    if (literal !== undefined || !this.hasPatterns) return literal;
    const route = search(this.root, path, 1);
    return route === undefined ? undefined : (route.match ?? read(route, path));
  }

  private put(key: Place, pattern: string, segments: readonly Segment[], value: T): string | undefined {
    const node = this.nodeOf(segments);
    const other = node[key] ?? (key === 'rest' ? node.prefix : key === 'prefix' ? node.rest : undefined);
    if (other !== undefined) return `'${pattern}' matches the same paths as '${other.pattern}'`;
    const match = isLiteral(segments) ? Object.freeze({ value, pattern, params: NO_PARAMS }) : undefined;
    node[key] = { value, pattern, segments, match };
    if (match !== undefined && key === 'route') this.literals.set(pattern, match);
    else this.hasPatterns = true;
    return undefined;
  }

  /** The node at which a route of these segments ends; a wildcard belongs to the node before it. */
  private nodeOf(segments: readonly Segment[]): Node<T> {
    let node = this.root;
    for (const segment of segments) {
      if (typeof segment === 'string') {
        node.literals ??= new Map();
        let next = node.literals.get(segment);
        if (next === undefined) node.literals.set(segment, (next = new Node()));
        node = next;
      } else if (!segment.isRest) {
        node = node.parameter ??= new Node();
      }
    }
    return node;
  }
}

/**
 * Searches depth first, in order of precedence. `from` is where the next segment begins, or after the end of the path.
 */
function search<T>(node: Node<T>, path: string, from: number): Route<T> | undefined {
  if (from > path.length) return node.route;
  const slash = path.indexOf('/', from);
  const end = slash < 0 ? path.length : slash;
  const literal = node.literals?.get(path.slice(from, end));
  const found = literal && search(literal, path, end + 1);
  if (found !== undefined) return found;
  if (end > from && node.parameter !== undefined) {
    const route = search(node.parameter, path, end + 1);
    if (route !== undefined) return route;
  }
  // A wildcard must match at least one character.
  return (from < path.length ? node.rest : undefined) ?? node.prefix;
}

/** Decodes the parameters of a matched path. */
function read<T>({ value, pattern, segments }: Route<T>, path: string): RouteMatch<T> | typeof MALFORMED_PATH {
  const params: Record<string, string> = Object.create(null);
  let from = 1;
  for (const segment of segments) {
    const slash = path.indexOf('/', from);
    const end = slash < 0 || (typeof segment !== 'string' && segment.isRest) ? path.length : slash;
    if (typeof segment !== 'string') {
      const decoded = decode(path.slice(from, end));
      if (decoded === undefined) return MALFORMED_PATH;
      params[segment.name] = decoded;
    }
    from = end + 1;
  }
  return { value, pattern, params };
}

/** Decodes once; the result does not keep the head in memory from which it was cut. */
function decode(raw: string): string | undefined {
  if (!raw.includes('%')) return raw.length > MAX_PARAM_LENGTH ? undefined : detach(raw);
  try {
    const decoded = decodeURIComponent(raw);
    return decoded.length > MAX_PARAM_LENGTH ? undefined : decoded;
  } catch {
    return undefined;
  }
}

const NAME = /^[A-Za-z_$][\w$]*$/;

/** The segments of a pattern, or an error text. */
export function parsePattern(pattern: string): readonly Segment[] | string {
  if (!pattern.startsWith('/')) return `'${pattern}' must begin with a slash`;
  const names = new Set<string>();
  const segments: Segment[] = [];
  const texts = pattern.slice(1).split('/');
  for (const [index, text] of texts.entries()) {
    const isRest = text.startsWith('*');
    if (!isRest && !text.startsWith(':')) {
      if (/[:*{}\\]/.test(text))
        return `'${pattern}': a parameter must be a whole segment, such as '/:name' or '/*name'`;
      segments.push(text);
      continue;
    }
    const name = text.slice(1);
    if (!NAME.test(name)) return `'${pattern}': '${text}' must be followed by a name of letters, digits, _ and $`;
    if (isRest && index !== texts.length - 1) return `'${pattern}': a wildcard must be the last segment`;
    if (names.has(name)) return `'${pattern}' has two parameters with the name '${name}'`;
    names.add(name);
    segments.push({ name, isRest });
  }
  return names.size > MAX_PARAMS ? `'${pattern}' has more than ${MAX_PARAMS} parameters` : segments;
}
