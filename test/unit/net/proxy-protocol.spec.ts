import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  MORE,
  type ProxyHeader,
  ProxyHeaderFault,
  ProxyProtocolParser,
  type ProxyVersions,
} from '../../../lib/net/proxy-protocol.js';
import { crc32c, header, TLV, tls, tlv, v2, withChecksum } from '../../support/proxy-header.js';
import { runs } from '../../support/runs.js';

const REST = Buffer.from('GET /chat HTTP/1.1\r\n');

interface Parsed {
  readonly result: ReturnType<ProxyProtocolParser['push']>;
  readonly rest: Buffer;
  readonly held: number;
}

/** The result of pushing these chunks. The parser must not be pushed to after its result. */
function parse(chunks: readonly Buffer[], versions: ProxyVersions = 'any'): Parsed {
  const parser = new ProxyProtocolParser(versions);
  for (const [index, chunk] of chunks.entries()) {
    const result = parser.push(chunk);
    if (result !== MORE)
      return { result, rest: Buffer.concat([parser.rest, ...chunks.slice(index + 1)]), held: parser.heldBytes };
  }
  return { result: MORE, rest: Buffer.alloc(0), held: parser.heldBytes };
}

const good = (bytes: Buffer, versions: ProxyVersions = 'any'): ProxyHeader => {
  const { result } = parse([bytes], versions);
  if (result === MORE || result instanceof ProxyHeaderFault) throw new Error(`no header: ${String(result)}`);
  return result;
};
const v1 = (line: string): Buffer => Buffer.from(`${line}\r\n`, 'latin1');

const IPV4 = v2({ source: ['198.51.100.7', 40_001], destination: ['203.0.113.1', 443] });
const IPV6 = v2({ source: ['2001:db8::7', 40_001], destination: ['2001:db8::1', 443] });
const FULL = withChecksum(
  v2({
    source: ['198.51.100.7', 40_001],
    destination: ['203.0.113.1', 443],
    values: [
      tlv(TLV.ALPN, 'http/1.1'),
      tlv(TLV.AUTHORITY, 'chat.example'),
      tlv(TLV.NOOP, Buffer.alloc(7)),
      tlv(TLV.UNIQUE_ID, 'id-1'),
      tls({ client: 7, verify: 0, version: 'TLSv1.3', commonName: 'device-7' }),
      tlv(0xea, Buffer.from([1, 118])),
    ],
  }),
);

describe('PROXY protocol version 1', () => {
  it.each([
    ['PROXY TCP4 198.51.100.7 203.0.113.1 40001 443', '198.51.100.7', 40_001, '203.0.113.1', 443],
    ['PROXY TCP4 255.255.255.255 0.0.0.0 65535 0', '255.255.255.255', 65_535, '0.0.0.0', 0],
    ['PROXY TCP6 2001:db8::7 ::1 1 2', '2001:db8::7', 1, '::1', 2],
    ['PROXY TCP6 ::ffff:198.51.100.7 ::ffff:1.2.3.4 1 2', '::ffff:198.51.100.7', 1, '::ffff:1.2.3.4', 2],
  ])('parses %s', (line, address, port, toAddress, toPort) => {
    expect(good(v1(line))).toEqual({
      version: 1,
      isLocal: false,
      source: { address, port },
      destination: { address: toAddress, port: toPort },
    });
  });

  it.each(['PROXY UNKNOWN', 'PROXY UNKNOWN ', `PROXY UNKNOWN ${'f'.repeat(90)}`, 'PROXY UNKNOWN 1.2.3.4 x  y'])(
    '%s keeps the real endpoints',
    (line) => {
      expect(good(v1(line))).toEqual({ version: 1, isLocal: false });
    },
  );

  it.each([
    'PROXY ',
    'PROXY TCP4',
    'PROXY TCP5 1.2.3.4 1.2.3.4 1 2',
    'PROXY tcp4 1.2.3.4 1.2.3.4 1 2',
    'PROXY UNKNOWNS',
    'PROXY  TCP4 1.2.3.4 1.2.3.4 1 2',
    'PROXY TCP4  1.2.3.4 1.2.3.4 1 2',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3',
    'PROXY TCP4 1.2.3 1.2.3.4 1 2',
    'PROXY TCP4 1.2.3.04 1.2.3.4 1 2',
    'PROXY TCP4 1.2.3.256 1.2.3.4 1 2',
    'PROXY TCP4 2001:db8::7 ::1 1 2',
    'PROXY TCP6 1.2.3.4 1.2.3.4 1 2',
    'PROXY TCP6 fe80::1%eth0 ::1 1 2',
    'PROXY TCP6 [::1] ::1 1 2',
    'PROXY TCP6 ::1 ::1 1 65536',
    'PROXY TCP4 1.2.3.4 1.2.3.4 01 2',
    'PROXY TCP4 1.2.3.4 1.2.3.4 -1 2',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1e1 2',
    'PROXY TCP4 1.2.3.4 1.2.3.4 0x1 2',
    'PROXY TCP4 1.2.3.4 1.2.3.4  2',
    'PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n',
    'PROXY UNKNOWN \x00',
    'PROXY UNKNOWN \r ',
    'PROXY UNKNOWN \x80',
  ])('refuses %j', (line) => {
    expect(parse([v1(line), REST]).result).toBeInstanceOf(ProxyHeaderFault);
  });

  it('accepts 107 bytes including CRLF, and refuses a longer line with or without an end', () => {
    const longest = v1(`PROXY UNKNOWN ${'f'.repeat(107 - 16)}`);
    expect(longest).toHaveLength(107);
    expect(parse([longest, REST]).result).toEqual({ version: 1, isLocal: false });
    expect(parse([v1(`PROXY UNKNOWN ${'f'.repeat(107 - 15)}`)]).result).toBeInstanceOf(ProxyHeaderFault);
    expect(parse([Buffer.from(`PROXY UNKNOWN ${'f'.repeat(107 - 14)}`)]).result).toBeInstanceOf(ProxyHeaderFault);
    expect(parse([Buffer.from(`PROXY UNKNOWN ${'f'.repeat(106 - 14)}`)]).result).toBe(MORE);
  });

  it('ends at CRLF only', () => {
    expect(parse([Buffer.from('PROXY UNKNOWN\n')]).result).toBeInstanceOf(ProxyHeaderFault);
    expect(parse([Buffer.from('PROXY UNKNOWN\r')]).result).toBe(MORE);
    expect(parse([Buffer.from('PROXY UNKNOWN\r'), Buffer.from('x')]).result).toBeInstanceOf(ProxyHeaderFault);
  });
});

describe('PROXY protocol version 2', () => {
  it('parses IPv4 addresses and ports', () => {
    expect(good(IPV4)).toEqual({
      version: 2,
      isLocal: false,
      source: { address: '198.51.100.7', port: 40_001 },
      destination: { address: '203.0.113.1', port: 443 },
    });
  });

  it('parses IPv6 addresses and ports', () => {
    expect(good(IPV6)).toMatchObject({
      source: { address: '2001:db8:0:0:0:0:0:7', port: 40_001 },
      destination: { address: '2001:db8:0:0:0:0:0:1', port: 443 },
    });
  });

  it('parses the known type-length-values and skips the others', () => {
    expect(good(FULL)).toMatchObject({
      tls: { secure: true, version: 'TLSv1.3', commonName: 'device-7' },
      authority: 'chat.example',
      uniqueId: Buffer.from('id-1'),
    });
  });

  it.each([
    ['LOCAL', header(0x20, 0x00)],
    ['LOCAL with addresses', header(0x20, 0x11, Buffer.alloc(12, 1))],
    ['LOCAL with bytes that are not type-length-values', header(0x20, 0x00, Buffer.alloc(5, 255))],
    ['LOCAL with an unknown family', header(0x20, 0xff)],
  ])('%s keeps the real endpoints', (_, bytes) => {
    expect(good(bytes)).toEqual({ version: 2, isLocal: true });
  });

  it.each([
    ['UNSPEC', header(0x21, 0x00)],
    ['UNSPEC with bytes', header(0x21, 0x00, Buffer.alloc(99, 255))],
    ['UNIX', header(0x21, 0x31, Buffer.alloc(216))],
  ])('%s keeps the real endpoints', (_, bytes) => {
    expect(good(bytes)).toEqual({ version: 2, isLocal: false });
  });

  it('parses the TLS value behind a Unix address', () => {
    const value = tls({ client: 1, verify: 0 });
    expect(good(header(0x21, 0x31, Buffer.concat([Buffer.alloc(216), value])))).toMatchObject({
      tls: { secure: true },
    });
  });

  it.each([
    ['a connection without TLS', { client: 0, verify: 0 }, { secure: false }],
    [
      'TLS without a client certificate',
      { client: 1, verify: 0, commonName: 'x' },
      { secure: true, commonName: undefined },
    ],
    [
      'a client certificate that failed verification',
      { client: 3, verify: 1, commonName: 'x' },
      { secure: true, commonName: undefined },
    ],
    ['a client certificate of this connection', { client: 3, verify: 0, commonName: 'x' }, { commonName: 'x' }],
    ['a client certificate of the TLS session', { client: 5, verify: 0, commonName: 'x' }, { commonName: 'x' }],
  ])('parses the TLS value of %s', (_, said, expected) => {
    expect(good(v2({ values: [tls(said)] })).tls).toMatchObject(expected);
  });

  it('copies the unique id instead of referencing the read buffer', () => {
    const bytes = Buffer.from(v2({ values: [tlv(TLV.UNIQUE_ID, 'id-1')] }));
    const { uniqueId } = good(bytes);
    bytes.fill(0);
    expect(uniqueId).toEqual(Buffer.from('id-1'));
  });

  it('accepts 4 KiB and refuses a larger header at its length field', () => {
    const room = 4096 - IPV4.length - 3;
    const longest = v2({ values: [tlv(TLV.NOOP, Buffer.alloc(room))] });
    expect(longest).toHaveLength(4096);
    expect(good(longest).source).toBeDefined();
    expect(parse([v2({ values: [tlv(TLV.NOOP, Buffer.alloc(room + 1))] }).subarray(0, 16)]).result).toBeInstanceOf(
      ProxyHeaderFault,
    );
  });

  it('computes CRC-32C as the specification does', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  it('detects every flipped bit in a header with a checksum', () => {
    for (let bit = 0; bit < FULL.length * 8; bit++) {
      const bytes = Buffer.from(FULL);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const { result } = parse([bytes]);
      // A larger length waits for more bytes; LOCAL and UNSPEC skip the values unread.
      const family = bytes[13]!;
      if (bytes[12] === 0x20 || family === 0 || result === MORE) expect([12, 13, 14, 15]).toContain(bit >> 3);
      else if (isChecksumType(bytes)) expect(result).toBeInstanceOf(ProxyHeaderFault);
    }
  });

  const cn = (name: Buffer | string) => tls({ client: 3, verify: 0, commonName: name });
  it.each([
    ['a wrong signature', Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIX\n'), Buffer.from([0x21, 0x11, 0, 0])])],
    ['version 1 in binary', header(0x11, 0x11, Buffer.alloc(12))],
    ['version 3', header(0x31, 0x11, Buffer.alloc(12))],
    ['an unknown command', header(0x22, 0x11, Buffer.alloc(12))],
    ['an unknown family', header(0x21, 0x41, Buffer.alloc(216))],
    ['an unknown transport', header(0x21, 0x13, Buffer.alloc(12))],
    ['a stream without a family', header(0x21, 0x01)],
    ['datagrams', header(0x21, 0x12, Buffer.alloc(12))],
    ['datagrams of IPv6', header(0x21, 0x22, Buffer.alloc(36))],
    ['no addresses', header(0x21, 0x11)],
    ['addresses that are cut short', header(0x21, 0x21, Buffer.alloc(35))],
    ['a socket path that is cut short', header(0x21, 0x31, Buffer.alloc(215))],
    ['a value without a length field', v2({ values: [Buffer.from([TLV.NOOP])] })],
    ['a value with half a length field', v2({ values: [Buffer.from([TLV.NOOP, 0])] })],
    ['a value beyond the end', v2({ values: [Buffer.from([TLV.NOOP, 0, 1])] })],
    ['a value far beyond the end', v2({ values: [Buffer.from([TLV.NOOP, 255, 255, 0])] })],
    ['a short checksum', v2({ values: [tlv(TLV.CRC32C, Buffer.alloc(3))] })],
    ['a long checksum', v2({ values: [tlv(TLV.CRC32C, Buffer.alloc(5))] })],
    ['a wrong checksum', v2({ values: [tlv(TLV.CRC32C, Buffer.alloc(4))] })],
    ['two checksums', v2({ values: [tlv(TLV.CRC32C, Buffer.alloc(4)), tlv(TLV.CRC32C, Buffer.alloc(4))] })],
    ['two authorities', v2({ values: [tlv(TLV.AUTHORITY, 'a'), tlv(TLV.AUTHORITY, 'b')] })],
    ['an empty authority', v2({ values: [tlv(TLV.AUTHORITY, '')] })],
    ['a long authority', v2({ values: [tlv(TLV.AUTHORITY, 'a'.repeat(256))] })],
    ['an authority with CR and LF', v2({ values: [tlv(TLV.AUTHORITY, 'a\r\nX: y')] })],
    ['an authority that is not UTF-8', v2({ values: [tlv(TLV.AUTHORITY, Buffer.from([0xff]))] })],
    ['a long unique id', v2({ values: [tlv(TLV.UNIQUE_ID, Buffer.alloc(129))] })],
    ['a TLS value that is too short', v2({ values: [tlv(TLV.SSL, Buffer.alloc(4))] })],
    [
      'a TLS value whose inner value is cut short',
      v2({ values: [tlv(TLV.SSL, Buffer.from([1, 0, 0, 0, 0, 0x22, 0, 9]))] }),
    ],
    [
      'two names in a TLS value',
      v2({ values: [tlv(TLV.SSL, Buffer.from([1, 0, 0, 0, 0, 34, 0, 1, 65, 34, 0, 1, 65]))] }),
    ],
    ['a name with a control character', v2({ values: [cn('a\u0085')] })],
    ['a name that is not UTF-8', v2({ values: [cn(Buffer.from([0xc3, 0x28]))] })],
    ['two TLS values', v2({ values: [cn('a'), cn('b')] })],
  ])('refuses %s', (_, bytes) => {
    expect(parse([bytes, REST]).result).toBeInstanceOf(ProxyHeaderFault);
  });
});

describe('ProxyProtocolParser', () => {
  const headers = {
    v1: v1('PROXY TCP4 198.51.100.7 203.0.113.1 40001 443'),
    unknown: v1('PROXY UNKNOWN'),
    IPV4,
    IPV6,
    FULL,
  };

  it.each(Object.entries(headers))('parses %s identically wherever it is split', (_, bytes) => {
    const whole = good(bytes);
    const all = Buffer.concat([bytes, REST]);
    for (let at = 0; at <= all.length; at++) {
      expect(parse([all.subarray(0, at), all.subarray(at)])).toEqual({ result: whole, rest: REST, held: 0 });
    }
    expect(parse([...all].map((byte) => Buffer.from([byte])))).toEqual({ result: whole, rest: REST, held: 0 });
  });

  it.each(Object.entries(headers))('waits for more bytes before the last byte of %s', (_, bytes) => {
    for (let at = 0; at < bytes.length; at++) {
      expect(parse([bytes.subarray(0, at)])).toEqual({ result: MORE, rest: Buffer.alloc(0), held: at });
    }
  });

  it('accepts a header only of the configured version', () => {
    expect(good(headers.v1, 'v1').version).toBe(1);
    expect(good(IPV4, 'v2').version).toBe(2);
    expect(parse([headers.v1.subarray(0, 1)], 'v2').result).toBeInstanceOf(ProxyHeaderFault);
    expect(parse([IPV4.subarray(0, 1)], 'v1').result).toBeInstanceOf(ProxyHeaderFault);
  });

  it.each(['GET / HTTP/1.1\r\n', 'POST', 'PROPFIND', 'proxy TCP4', '\x16\x03\x01', '\r\nGET', ' PROXY', '\0'])(
    'refuses %j at the first byte that rules out a header',
    (text) => {
      const bytes = Buffer.from(text, 'latin1');
      const results = [...bytes].map((_, end) => parse([bytes.subarray(0, end + 1)]).result);
      const seen = results.findIndex((result) => result instanceof ProxyHeaderFault);
      expect(seen).toBeGreaterThanOrEqual(0);
      // The bytes before may still begin a header.
      const begins = ['PROXY ', '\r\n\r\n\0\r\nQUIT\n'].some((start) => start.startsWith(text.slice(0, seen)));
      expect(begins).toBe(true);
    },
  );

  it('gives the same result for any chunking of any bytes, and holds at most the largest header', () => {
    const seeds = Object.values(headers);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 64 }).map((tail) => Buffer.from(tail)),
      // A header with some bytes changed.
      fc
        .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 3 }))
        .map(([seed, changes]) => {
          const changed = Buffer.from(seed);
          for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
          return Buffer.concat([changed, REST]);
        }),
    );
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(40), { maxLength: 12 }), (all, sizes) => {
        const pieces: Buffer[] = [];
        let at = 0;
        for (const size of sizes) {
          pieces.push(all.subarray(at, at + size));
          at += size;
        }
        pieces.push(all.subarray(at));
        const whole = parse([all]);
        const split = parse(pieces);
        expect(kindOf(split.result)).toEqual(kindOf(whole.result));
        if (whole.result !== MORE && !(whole.result instanceof ProxyHeaderFault))
          expect(split.rest).toEqual(whole.rest);
        expect(split.held).toBeLessThan(4096);
      }),
      { numRuns: runs(3000) },
    );
  });
});

const kindOf = (result: ReturnType<typeof parse>['result']): unknown =>
  result instanceof ProxyHeaderFault ? 'fault' : result;

/** Whether the first value is still the checksum that `withChecksum` writes. */
const isChecksumType = (bytes: Buffer): boolean => bytes[28] === TLV.CRC32C && bytes[29] === 0 && bytes[30] === 4;
