import fc from 'fast-check';

/** Legal and illegal parts of request heads; random combinations come close to every rule. */
const LINES = [
  'Host: example.com',
  'Upgrade: websocket',
  'upgrade:\th2c , WebSocket',
  'Upgrade: h2c',
  'Connection: Upgrade',
  'Connection: keep-alive, upgrade',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
  'Cookie: a=b; c=d',
  'X-Long: 0123456789012345678901234567890',
  'X-Text: \xe9\xff\x80',
  'X-Empty:',
  'X-Blank: \t ',
  'Bad name: x',
  'Bad : x',
  ': x',
  ' folded',
  '\tfolded: x',
  'no colon',
  'X-Nul: \0',
  'X-Del: \x7f',
  '',
] as const;

const START_LINES = [
  'GET / HTTP/1.1',
  'GET /chat?a=b HTTP/1.1',
  'POST /x HTTP/1.1',
  'CONNECT a:80 HTTP/1.1',
  'GET  / HTTP/1.1',
  'GET /\xe9 HTTP/1.1',
  'GET /a-rather-long-path-indeed-it-is HTTP/1.1',
  '\x16\x03\x01\x02',
  'GET / HTTP/1.1\0',
  '',
] as const;

const mostly = (usual: string, ...others: string[]): fc.Arbitrary<string> =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

const lineEnd = mostly('\r\n', '\n', '\r', '\r\r\n', '\n\r\n');

/** A request head or something near it, as a latin1 string; bytes may follow its end. */
export const headLike: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom('', '', '', '\r\n', '\r\n\r\n', '\r\n\r\n\r\n', '\n'),
    mostly(START_LINES[0], ...START_LINES),
    fc.array(fc.tuple(fc.constantFrom(...LINES.slice(0, 13), ...LINES.slice(0, 13), ...LINES), lineEnd), {
      maxLength: 7,
    }),
    lineEnd,
    mostly('\r\n', '', '\n', '\r'),
    fc.constantFrom('', '', 'tail', '\r\n', 'GET / HTTP/1.1\r\n\r\n'),
  )
  .map(
    ([before, start, lines, startEnd, end, tail]) =>
      before + start + startEnd + lines.map(([line, le]) => line + le).join('') + end + tail,
  );

const BROWSER = [
  'GET /chat?room=a HTTP/1.1',
  'Host: chat.example',
  'Connection: keep-alive, Upgrade',
  'Upgrade: websocket',
  'Origin: https://chat.example',
  'Sec-WebSocket-Version: 13',
  'Cookie: a=b',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n');

/** Inserted into a valid head, each of these changes its meaning. */
const PIECES = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  ' ',
  '\t',
  ':',
  ',',
  '#',
  '\0',
  '\x7f',
  '\xe9',
  'x',
  'UPGRADE: WebSocket\r\n',
];

/** A browser's request head with up to three changes; bytes may follow its end. */
export const nearlyValid: fc.Arbitrary<string> = fc
  .array(fc.tuple(fc.nat(), fc.nat(2), fc.constantFrom('', ...PIECES)), { minLength: 0, maxLength: 3 })
  .map((changes) =>
    changes.reduce((head, [at, removed, put]) => {
      const place = at % head.length;
      return head.slice(0, place) + put + head.slice(place + removed);
    }, BROWSER),
  );

/** Cuts bytes into chunks at arbitrary places; chunks may be empty. */
export const cuts: fc.Arbitrary<readonly number[]> = fc.array(fc.nat({ max: 300 }), { maxLength: 12 });

export function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = places.map((place) => Math.min(place, bytes.length)).sort((a, b) => a - b);
  return [...sorted, bytes.length].map((end, i) => bytes.subarray(i === 0 ? 0 : sorted[i - 1]!, end));
}

export const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
