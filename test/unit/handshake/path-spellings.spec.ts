import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { PathSpellings } from '../../../lib/handshake/path-spellings.js';
import { runs } from '../../support/runs.js';
import { turn } from '../../support/time.js';

const spellingsOf = (pattern: string, isPrefix = false): PathSpellings => {
  const made = new PathSpellings();
  made.add(pattern, isPrefix);
  return made;
};

describe('PathSpellings', () => {
  it.each([
    ['/graphql', false, '/graphql/'],
    ['/graphql', false, '/%67%72aphql'],
    ['/graphql', false, '/%2567raphql'],
    ['/graphql', false, '/GRAPHQL'],
    ['/graphql', false, '/x/../graphql'],
    ['/graphql', false, '/../../graphql'],
    ['/graphql', false, '/x\\..\\graphql'],
    ['/graphql', false, '/graphql%2F'],
    ['/graphql', false, '/graphql%3Fx'],
    ['/graphql', false, '/graphql;jsessionid=1/x'],
    ['/graphql', false, '/x;y/../graphql'],
    ['/graphql', false, '/%zz/../%67raphql'],
    ['/api/graphql', false, '/api/b//../../graphql'],
    ['/api/graphql', false, '/api%2Fgraphql'],
    ['/caf%C3%A9', false, '/caf%c3%a9'],
    ['/caf%C3%A9', false, '/%63af\u00e9'],
    ['/socket.io/', true, '/socket.io'],
    ['/socket.io/', true, '/x/../socket.io/anything/else'],
    ['/socket.io', true, '//socket.io/'],
    ['/rooms/:id', false, '/%72ooms/5'],
    ['/rooms/:id/live', false, '/rooms/5/LIVE'],
    ['/files/*rest', false, '/FILES/a/b'],
    ['/', false, '/.'],
    ['/', false, '//'],
  ] as const)('of %s (as a prefix: %s) matches %s', (pattern, isPrefix, path) => {
    expect(spellingsOf(pattern, isPrefix).includes(path)).toBe(true);
  });

  it.each([
    ['/graphql', false, '/'],
    ['/graphql', false, '/graphqls'],
    ['/graphql', false, '/graphql/x'],
    ['/graphql', false, '/graphql/..'],
    ['/graphql', false, '/api/graphql'],
    ['/graphql', false, '/%25252567raphql'],
    ['/graphql', false, '/%'],
    ['/socket.io/', true, '/socket.iox/'],
    ['/rooms/:id', false, '/rooms'],
    ['/rooms/:id', false, '/rooms/5/6'],
    ['/files/*rest', false, '/files/'],
    ['/', false, '/x'],
  ] as const)('of %s (as a prefix: %s) does not match %s', (pattern, isPrefix, path) => {
    expect(spellingsOf(pattern, isPrefix).includes(path)).toBe(false);
  });

  it('matches nothing without a path', () => {
    expect(new PathSpellings().includes('/graphql')).toBe(false);
  });

  const segment = fc.constantFrom(
    'a',
    'b',
    'graphql',
    'api',
    '.',
    '..',
    '',
    '%2e',
    '%2E%2e',
    '%2F',
    'a%2Fb',
    '%67raphql',
    ';',
    '%25',
    'a;b',
  );
  const target = fc.array(fc.tuple(fc.constantFrom('/', '\\', '//'), segment), { minLength: 1, maxLength: 8 }).map(
    (parts) =>
      `/${parts
        .map(([slash, text]) => slash + text)
        .join('')
        .slice(1)}`,
  );

  it('matches whatever new URL() or a decoding router reads as the path', () => {
    const spellings = [spellingsOf('/graphql'), spellingsOf('/api/graphql')] as const;
    fc.assert(
      fc.property(target, (path) => {
        const readings = [new URL(`http://host.example${path}`).pathname];
        for (const text of [path, readings[0]!])
          try {
            readings.push(decodeURI(text), decodeURIComponent(text));
          } catch {
            // No library can read it.
          }
        for (const reading of readings)
          for (const [at, wanted] of ['/graphql', '/api/graphql'].entries())
            if (reading === wanted || reading.split(';')[0] === wanted)
              expect(spellings[at]!.includes(path)).toBe(true);
      }),
      { numRuns: runs(20_000) },
    );
  });

  it('takes linear time', async () => {
    const spellings = spellingsOf('/graphql');
    for (const unit of ['/', '%', '%2f', '/..', ';', '%25', '\\', 'a/../']) {
      const path = `/${unit.repeat(8192 / unit.length)}`;
      // In quadratic time or worse, the time limit of the test would pass.
      for (let i = 0; i < 10; i++) {
        expect(spellings.includes(path)).toBe(false);
        await turn();
      }
    }
  });
});
