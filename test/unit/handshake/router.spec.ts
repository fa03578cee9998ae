import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MALFORMED_PATH, MAX_PARAM_LENGTH, MAX_PARAMS, parsePattern, Router } from '../../../lib/handshake/router.js';
import { runs } from '../../support/runs.js';

/** A router whose values are its patterns; a pattern that ends with `…` is a prefix. */
function routerOf(...patterns: string[]): Router<string> {
  const router = new Router<string>();
  for (const pattern of patterns) {
    const isPrefix = pattern.endsWith('…');
    const problem = isPrefix ? router.addPrefix(pattern.slice(0, -1), pattern) : router.add(pattern, pattern);
    if (problem !== undefined) throw new Error(problem);
  }
  return router;
}

function find(router: Router<string>, path: string): unknown {
  const match = router.find(path);
  if (match === undefined || match === MALFORMED_PATH) return match;
  return [match.value, { ...match.params }];
}

describe('Router.find', () => {
  it.each([
    ['/chat', '/chat', {}],
    ['/', '/', {}],
    ['/rooms/5', '/rooms/:id', { id: '5' }],
    ['/rooms/5/users/7', '/rooms/:id/users/:user', { id: '5', user: '7' }],
    ['/files/a', '/files/*rest', { rest: 'a' }],
    ['/files/a/b/c', '/files/*rest', { rest: 'a/b/c' }],
    ['/files/a//', '/files/*rest', { rest: 'a//' }],
    ['/ocpp/CP-001', '/:kind/:id', { kind: 'ocpp', id: 'CP-001' }],
    ['/rooms/__proto__', '/rooms/:id', { id: '__proto__' }],
    ['/rooms/:id', '/rooms/:id', { id: ':id' }],
    ['/files/*rest', '/files/*rest', { rest: '*rest' }],
  ])('finds %s at %s', (path, pattern, params) => {
    const router = routerOf(
      '/',
      '/chat',
      '/rooms/:id',
      '/rooms/:id/users/:user',
      '/files/*rest',
      '/:kind/:id',
      '/nothing/:id/x',
    );
    expect(find(router, path)).toEqual([pattern, params]);
  });

  it.each([
    '/chat/',
    '/Chat',
    '/chat/x',
    '//chat',
    '/%63hat',
    '/rooms',
    '/rooms/',
    '/rooms//',
    '/rooms/5/',
    '/files',
    '/files/',
    '*',
    '',
  ])('%j finds nothing', (path) => {
    expect(find(routerOf('/chat', '/rooms/:id', '/files/*rest'), path)).toBeUndefined();
    expect(find(routerOf('/chat'), path)).toBeUndefined();
  });

  it.each([[['/a/b/c', '/a/:x/c', '/a/*rest', '/*rest']], [['/*rest', '/a/*rest', '/a/:x/c', '/a/b/c']]])(
    'prefers literals, then parameters, then wildcards, in the order %j',
    (patterns) => {
      const router = routerOf(...patterns);
      expect(find(router, '/a/b/c')).toEqual(['/a/b/c', {}]);
      expect(find(router, '/a/z/c')).toEqual(['/a/:x/c', { x: 'z' }]);
      expect(find(router, '/a/z/d')).toEqual(['/a/*rest', { rest: 'z/d' }]);
      expect(find(router, '/a')).toEqual(['/*rest', { rest: 'a' }]);
    },
  );

  it('backtracks when a literal leads nowhere', () => {
    const router = routerOf('/a/b/c', '/:x/b/d', '/a/:y/:z/e');
    expect(find(router, '/a/b/d')).toEqual(['/:x/b/d', { x: 'a' }]);
    expect(find(router, '/a/b/c/e')).toEqual(['/a/:y/:z/e', { y: 'b', z: 'c' }]);
  });

  it('keeps the parameter names of each pattern when patterns share segments', () => {
    const router = routerOf('/rooms/:room/users', '/rooms/:id/files/:file');
    expect(find(router, '/rooms/1/users')).toEqual(['/rooms/:room/users', { room: '1' }]);
    expect(find(router, '/rooms/1/files/2')).toEqual(['/rooms/:id/files/:file', { id: '1', file: '2' }]);
  });

  it('finds a prefix route for its path and everything below', () => {
    const router = routerOf('/socket.io/…', '/*rest', '/socket.io/own');
    expect(find(router, '/socket.io/')).toEqual(['/socket.io/…', {}]);
    expect(find(router, '/socket.io/x/%zz')).toEqual(['/socket.io/…', {}]);
    expect(find(router, '/socket.io/own')).toEqual(['/socket.io/own', {}]);
    expect(find(router, '/socket.io')).toEqual(['/*rest', { rest: 'socket.io' }]);
    expect(find(router, '/socket.iox/')).toEqual(['/*rest', { rest: 'socket.iox/' }]);
  });
});

describe('a route parameter', () => {
  const router = routerOf('/rooms/:id', '/rooms/:id/x', '/files/*rest');

  it.each([
    ['%20', ' '],
    ['caf%C3%A9', 'café'],
    ['%F0%9F%98%80', '😀'],
    ['a+b', 'a+b'],
    ['%2525', '%25'],
    ['a%2Fb', 'a/b'],
    ['a%2fx', 'a/x'],
    ['%2F', '/'],
    ['%2e%2e', '..'],
    ['..', '..'],
    ['%3F', '?'],
  ])('%s is decoded once to %s', (raw, value) => {
    expect(find(router, `/rooms/${raw}`)).toEqual(['/rooms/:id', { id: value }]);
    expect(find(router, `/files/${raw}`)).toEqual(['/files/*rest', { rest: value }]);
  });

  it.each(['%', '%2', '%zz', '%C3', '%C3%28', '%ED%A0%80', '%F8%80%80%80', '%C0%AF', 'a%', '%%32%35'])(
    '%s is malformed',
    (raw) => {
      expect(find(router, `/rooms/${raw}`)).toBe(MALFORMED_PATH);
      expect(find(router, `/rooms/${raw}/x`)).toBe(MALFORMED_PATH);
      expect(find(router, `/files/a/${raw}`)).toBe(MALFORMED_PATH);
    },
  );

  it('has at most 256 decoded characters', () => {
    for (const one of ['a', '%61', '%C3%A9']) {
      expect(find(router, `/rooms/${one.repeat(MAX_PARAM_LENGTH)}`)).toHaveLength(2);
      expect(find(router, `/rooms/${one.repeat(MAX_PARAM_LENGTH + 1)}`)).toBe(MALFORMED_PATH);
    }
    expect(find(router, `/files/${'a/'.repeat(128)}`)).toHaveLength(2);
    expect(find(router, `/files/${'a/'.repeat(128)}a`)).toBe(MALFORMED_PATH);
  });

  it('is in an object without a prototype', () => {
    const match = router.find('/rooms/5');
    if (match === undefined || match === MALFORMED_PATH) throw new Error('no match');
    expect(Object.getPrototypeOf(match.params)).toBeNull();
  });
});

describe('Router.add', () => {
  it.each([
    ['rooms', 'begin with a slash'],
    ['', 'begin with a slash'],
    ['/rooms/:', 'name'],
    ['/rooms/:1', 'name'],
    ['/rooms/:id?', 'name'],
    ['/rooms/:id(\\d+)', 'name'],
    ['/rooms/:a-:b', 'name'],
    ['/rooms/:id.json', 'name'],
    ['/files/*', 'name'],
    ['/*', 'name'],
    ['/files/(.*)', 'whole segment'],
    ['/files/x*rest', 'whole segment'],
    ['/files{/:id}', 'whole segment'],
    ['/v1:id', 'whole segment'],
    ['/files/*rest/x', 'last segment'],
    ['/files/*rest/', 'last segment'],
    ['/:id/x/:id', "two parameters with the name 'id'"],
    ['/:id/*id', "two parameters with the name 'id'"],
    [`/${Array.from({ length: MAX_PARAMS + 1 }, (_, i) => `:p${i}`).join('/')}`, 'more than 16'],
  ])('refuses the pattern %s', (pattern, words) => {
    expect(new Router().add(pattern, 1)).toContain(words);
    expect(parsePattern(pattern)).toContain(words);
  });

  it.each([
    ['/chat', '/chat'],
    ['/rooms/:id', '/rooms/:room'],
    ['/rooms/:id/x', '/rooms/:room/x'],
    ['/files/*rest', '/files/*path'],
    ['/:a/*rest', '/:b/*rest'],
    ['/files/…', '/files/*rest'],
    ['/files/*rest', '/files/…'],
    ['/files/…', '/files/…'],
  ])('after %s refuses the ambiguous %s', (first, second) => {
    expect(() => routerOf(first, second)).toThrow('matches the same paths as');
  });

  it('leaves the router unchanged when it refuses', () => {
    const router = routerOf('/rooms/:id');
    expect(router.add('/rooms/:other', 'x')).toBeDefined();
    expect(router.addPrefix('/rooms', 'x')).toContain('must end with a slash');
    expect(router.addPrefix('/:x/', 'x')).toContain('literal');
    expect(find(router, '/rooms/5')).toEqual(['/rooms/:id', { id: '5' }]);
    expect(find(router, '/x/5')).toBeUndefined();
  });

  it('accepts 16 parameters', () => {
    const names = Array.from({ length: MAX_PARAMS }, (_, i) => `p${i}`);
    const router = routerOf(`/${names.map((name) => `:${name}`).join('/')}`);
    const params = Object.fromEntries(names.map((name, i) => [name, String(i)]));
    expect(router.find(`/${names.map((_, i) => i).join('/')}`)).toMatchObject({ params });
  });
});

/** Tries every route; of those that match, the one most literal from the left. */
function findSlowly(patterns: readonly string[], path: string): string | undefined {
  const rank = (pattern: string): string | undefined => {
    const want = pattern.slice(1).split('/');
    const have = path.slice(1).split('/');
    let kinds = '';
    for (const [i, segment] of want.entries()) {
      if (segment.startsWith('*')) return have.slice(i).join('/') === '' ? undefined : `${kinds}c`;
      if (have[i] === undefined) return undefined;
      if (segment.startsWith(':') ? have[i] === '' : have[i] !== segment) return undefined;
      kinds += segment.startsWith(':') ? 'b' : 'a';
    }
    return want.length === have.length ? kinds : undefined;
  };
  const fitting = patterns.flatMap((pattern) => {
    const kinds = rank(pattern);
    return kinds === undefined ? [] : [{ pattern, kinds }];
  });
  return fitting.sort((a, b) => (a.kinds < b.kinds ? -1 : 1))[0]?.pattern;
}

describe('a router with any routes', () => {
  it('finds the route that a linear search finds', () => {
    const word = fc.constantFrom('a', 'b', 'c', '');
    const pattern = fc
      .tuple(fc.array(fc.oneof(word, fc.constant(':')), { minLength: 1, maxLength: 5 }), fc.boolean())
      .map(([segments, isWild]) => {
        const named = segments.map((segment, i) => (segment === ':' ? `:p${i}` : segment));
        return `/${[...named, ...(isWild ? ['*rest'] : [])].join('/')}`;
      });
    const path = fc
      .array(fc.constantFrom('a', 'b', 'c', 'd', ''), { minLength: 1, maxLength: 7 })
      .map((s) => `/${s.join('/')}`);
    fc.assert(
      fc.property(fc.uniqueArray(pattern, { maxLength: 20 }), fc.array(path, { maxLength: 20 }), (patterns, paths) => {
        const router = routerOf(...patterns);
        for (const each of paths) {
          const match = router.find(each);
          if (match === MALFORMED_PATH || match?.value !== findSlowly(patterns, each)) return false;
        }
        return true;
      }),
      { numRuns: runs(500) },
    );
  });

  it('returns values as they were before encoding', () => {
    const router = routerOf('/:a/x/:b', '/:a/*rest');
    const value = fc.string({ unit: 'binary', minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(value, value, (a, b) => {
        const path = `/${encodeURIComponent(a)}/x/${encodeURIComponent(b)}`;
        expect(find(router, path)).toEqual(['/:a/x/:b', { a, b }]);
      }),
    );
  });

  it('never throws', () => {
    const router = routerOf('/a/:b', '/x/*rest', '/…');
    const path = fc.string({ unit: fc.constantFrom('/', '%', 'a', '2', 'F', '.', 'x') });
    fc.assert(fc.property(path, (each) => void router.find(`/${each}`)));
  });

  it('distinguishes ten thousand routes', () => {
    const patterns = Array.from({ length: 10_000 }, (_, i) => {
      if (i % 3 === 0) return `/api/v${i}/users`;
      return i % 3 === 1 ? `/api/v${i}/users/:id` : `/api/v${i}/files/*rest`;
    });
    const router = routerOf(...patterns);
    for (let i = 0; i < 10_000; i++) {
      const path = i % 3 === 0 ? `/api/v${i}/users` : i % 3 === 1 ? `/api/v${i}/users/7` : `/api/v${i}/files/a/b`;
      const match = router.find(path);
      if (match === MALFORMED_PATH || match?.pattern !== patterns[i]) throw new Error(`${path} finds another route`);
    }
    expect(router.find('/api/v10000/users')).toBeUndefined();
  });

  it('handles a path of only slashes in the depth of the routes', () => {
    const router = routerOf('/:a/:b', '/x/*rest');
    expect(router.find('/'.repeat(8000))).toBeUndefined();
    expect(router.find(`/x${'/'.repeat(250)}`)).toMatchObject({ pattern: '/x/*rest' });
  });
});
