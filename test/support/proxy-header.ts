import { parseAddress } from '../../lib/net/address.js';

/** Headers of the PROXY protocol, version 2, both valid and invalid. */
export const TLV = { ALPN: 1, AUTHORITY: 2, CRC32C: 3, NOOP: 4, UNIQUE_ID: 5, SSL: 0x20 } as const;

export function tlv(type: number, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value as string);
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

interface Tls {
  readonly client: number;
  readonly verify: number;
  readonly version?: string;
  readonly commonName?: string | Buffer;
}

export function tls({ client, verify, version, commonName }: Tls): Buffer {
  const start = Buffer.from([client, 0, 0, 0, 0]);
  start.writeUInt32BE(verify, 1);
  const values = [
    version === undefined ? [] : [tlv(0x21, version)],
    commonName === undefined ? [] : [tlv(0x22, commonName)],
  ].flat();
  return tlv(TLV.SSL, Buffer.concat([start, ...values]));
}

export function header(versionAndCommand: number, family: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const end = Buffer.from([versionAndCommand, family, 0, 0]);
  end.writeUInt16BE(body.length, 2);
  return Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), end, body]);
}

type Endpoint = readonly [address: string, port: number];

interface Header {
  readonly source?: Endpoint;
  readonly destination?: Endpoint;
  readonly values?: readonly Buffer[];
}

export function v2({ source = ['198.51.100.7', 1], destination = ['203.0.113.1', 2], values = [] }: Header): Buffer {
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source[1], 0);
  ports.writeUInt16BE(destination[1], 2);
  const addresses = [source, destination].map(([address]) => bytesOf(address));
  const family = addresses[0]!.length === 4 ? 0x11 : 0x21;
  return header(0x21, family, Buffer.concat([...addresses, ports, ...values]));
}

function bytesOf(text: string): Buffer {
  const { family, words } = parseAddress(text)!;
  if (family === 4) return Buffer.from(text.split('.').map(Number));
  return Buffer.from(words!.flatMap((word) => [word >>> 8, word & 255]));
}

/** The same header of IPv4 addresses with its checksum as the first value. */
export function withChecksum(bytes: Buffer): Buffer {
  const body = Buffer.concat([bytes.subarray(16, 28), tlv(TLV.CRC32C, Buffer.alloc(4)), bytes.subarray(28)]);
  const whole = header(bytes[12]!, bytes[13]!, body);
  whole.writeUInt32BE(crc32c(whole), 31);
  return whole;
}

/** Bit by bit, after RFC 9260, appendix A; the library uses another algorithm. */
export function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
