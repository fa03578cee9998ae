import { isIPv4, isIPv6 } from 'node:net';

/**
 * The PROXY protocol, versions 1 and 2 (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt): a header in which
 * a proxy describes the connection that it relays, before the first relayed byte. A push parser without I/O.
 */
export type ProxyVersions = 'v1' | 'v2' | 'any';

/** An address and a port as the proxy reports them. */
export interface ProxyEndpoint {
  /** IPv4 in dotted decimal, IPv6 in any text form. */
  readonly address: string;
  readonly port: number;
}

/** The TLS connection that the proxy terminated (PP2_TYPE_SSL). */
export interface ProxyTls {
  /** Whether the client uses TLS to the proxy. */
  readonly secure: boolean;
  /** The TLS version, such as `TLSv1.3`, if the proxy reports it. */
  readonly version: string | undefined;
  /** Common name of the client's certificate, only if the proxy has verified the certificate. */
  readonly commonName: string | undefined;
}

export interface ProxyHeader {
  readonly version: 1 | 2;
  /** The proxy's own connection (LOCAL), such as a health check: the socket's addresses are the real ones. */
  readonly isLocal: boolean;
  /** `undefined` for LOCAL, UNKNOWN, UNSPEC and UNIX: the socket's own addresses apply. */
  readonly source: ProxyEndpoint | undefined;
  readonly destination: ProxyEndpoint | undefined;
  /** `undefined` if the proxy does not report it (version 1 never does). */
  readonly tls: ProxyTls | undefined;
  /** The host name that the client requested, such as its SNI (PP2_TYPE_AUTHORITY). */
  readonly authority: string | undefined;
  /** Up to 128 opaque bytes that identify the connection (PP2_TYPE_UNIQUE_ID). */
  readonly uniqueId: Buffer | undefined;
}

/** More bytes are needed. */
export const MORE = Symbol('more');

/** The bytes are not an accepted header. `message` describes the first error, without repeating any bytes. */
export class ProxyHeaderFault {
  constructor(readonly message: string) {}
}

/** Including CRLF. */
const MAX_V1 = 107;
/**
 * Maximum length of a version 2 header. The format allows 65 551 bytes; according to its text 536 suffice for
 * addresses.
 */
const MAX_V2 = 4096;
const V2_START = 16;
const V1_SIGNATURE = Buffer.from('PROXY ', 'latin1');
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

/** Parses one header. */
export class ProxyProtocolParser {
  /** The bytes after the header in the chunk that completed it; empty before. */
  rest: Buffer = NOTHING;
  /** The bytes of an incomplete header. */
  private held: Buffer | undefined = undefined;

  constructor(private readonly versions: ProxyVersions) {}

  /** Number of bytes held for an incomplete header: less than 4 KiB. */
  get heldBytes(): number {
    return this.held?.length ?? 0;
  }

  /** Parses the next bytes. Must not be called again after it has returned a header or a fault. */
  push(chunk: Buffer): ProxyHeader | ProxyHeaderFault | typeof MORE {
    const { held } = this;
    const before = this.heldBytes;
    const bytes = held === undefined ? chunk : joined(held, chunk.subarray(0, MAX_V2 - before));
    const size = headerSize(bytes, this.versions);
    if (size === MORE || (typeof size === 'number' && bytes.length < size)) {
      this.held = held === undefined ? joined(NOTHING, chunk) : bytes;
      return MORE;
    }
    this.held = undefined;
    if (typeof size !== 'number') return size;
    this.rest = chunk.subarray(size - before);
    return bytes[0] === CR ? readV2(bytes.subarray(0, size)) : readV1(bytes.toString('latin1', 0, size - 2));
  }
}

const NOTHING = Buffer.alloc(0);
const CR = 0x0d;
const LF = 0x0a;

/** Memory of its own: a slice of Node's pool would keep 8 KiB alive. */
function joined(first: Buffer, second: Buffer): Buffer {
  const bytes = Buffer.allocUnsafeSlow(first.length + second.length);
  first.copy(bytes);
  second.copy(bytes, first.length);
  return bytes;
}

/** The length of the whole header, if known; a fault as early as possible. */
function headerSize(bytes: Buffer, versions: ProxyVersions): number | ProxyHeaderFault | typeof MORE {
  if (bytes.length === 0) return MORE;
  const isV2 = bytes[0] === V2_SIGNATURE[0];
  const signature = isV2 ? V2_SIGNATURE : V1_SIGNATURE;
  const seen = Math.min(bytes.length, signature.length);
  if (bytes.compare(signature, 0, seen, 0, seen) !== 0) return fault('there is no PROXY protocol header');
  if (versions === (isV2 ? 'v1' : 'v2')) return fault(`version ${isV2 ? 2 : 1} of the PROXY protocol is not accepted`);
  return isV2 ? sizeOfV2(bytes) : sizeOfV1(bytes);
}

function sizeOfV1(bytes: Buffer): number | ProxyHeaderFault | typeof MORE {
  const end = Math.min(bytes.length, MAX_V1);
  for (let at = V1_SIGNATURE.length; at < end; at++) {
    const byte = bytes[at]!;
    if (byte >= 0x20 && byte < 0x7f) continue;
    if (byte !== CR || (at + 1 < end && bytes[at + 1] !== LF)) return fault('a byte of version 1 is not printable');
    if (at + 1 < end) return at + 2;
  }
  return bytes.length < MAX_V1 ? MORE : fault(`version 1 is longer than ${MAX_V1} bytes`);
}

function sizeOfV2(bytes: Buffer): number | ProxyHeaderFault | typeof MORE {
  if (bytes.length > 12 && bytes[12]! >>> 4 !== 2) return fault('the version is not 2');
  if (bytes.length > 12 && (bytes[12]! & 15) > 1) return fault('the command is neither LOCAL nor PROXY');
  if (bytes.length < V2_START) return MORE;
  const size = V2_START + bytes.readUInt16BE(14);
  return size <= MAX_V2 ? size : fault(`version 2 is longer than ${MAX_V2} bytes`);
}

function fault(message: string): ProxyHeaderFault {
  return new ProxyHeaderFault(message);
}

const nowhere = (version: 1 | 2, isLocal: boolean): ProxyHeader => ({
  version,
  isLocal,
  source: undefined,
  destination: undefined,
  tls: undefined,
  authority: undefined,
  uniqueId: undefined,
});

/** `PROXY TCP4 source destination sourcePort destinationPort`, without its CRLF. */
function readV1(line: string): ProxyHeader | ProxyHeaderFault {
  const parts = line.split(' ');
  const [, protocol, from = '', to = '', fromPort = '', toPort = ''] = parts;
  // The rest of such a line must be ignored.
  if (protocol === 'UNKNOWN') return nowhere(1, false);
  const isAddress = protocol === 'TCP4' ? isIPv4 : protocol === 'TCP6' ? isPlainIPv6 : undefined;
  if (isAddress === undefined) return fault('the protocol of version 1 is not TCP4, TCP6 or UNKNOWN');
  if (parts.length !== 6) return fault('version 1 does not have six fields with single spaces between them');
  if (!isAddress(from) || !isAddress(to)) return fault(`an address of version 1 is not one of ${protocol}`);
  const source = { address: from, port: toPortNumber(fromPort) };
  const destination = { address: to, port: toPortNumber(toPort) };
  if (source.port < 0 || destination.port < 0) return fault('a port of version 1 is not a number from 0 to 65535');
  return { ...nowhere(1, false), source, destination };
}

/** A zone id names an interface of the proxy, not of this machine. */
const isPlainIPv6 = (text: string): boolean => isIPv6(text) && !text.includes('%');

/** -1 if it is invalid; leading zeros are not allowed. */
function toPortNumber(text: string): number {
  const port = /^(?:0|[1-9]\d{0,4})$/.test(text) ? Number(text) : -1;
  return port <= 65535 ? port : -1;
}

/** Address family and transport: the length of two addresses and ports. Datagrams are not relayed over TCP. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = { 17: 12, 33: 36, 49: 216 };
const INET = 0x11;
const UNIX = 0x31;

function readV2(bytes: Buffer): ProxyHeader | ProxyHeaderFault {
  const family = bytes[13]!;
  // What follows must be skipped, whatever it is.
  if ((bytes[12]! & 15) === 0) return nowhere(2, true);
  if (family === 0) return nowhere(2, false);
  const length = ADDRESS_BYTES[family];
  if (length === undefined) return fault('the address family or transport of version 2 is not one of a TCP connection');
  if (bytes.length < V2_START + length) return fault('version 2 is shorter than its addresses');
  const said = readValues(bytes, V2_START + length);
  if (said instanceof ProxyHeaderFault) return said;
  if (family === UNIX) return { ...nowhere(2, false), ...said };
  const size = family === INET ? 4 : 16;
  const read = (at: number, portAt: number): ProxyEndpoint => ({
    address: family === INET ? bytes.subarray(at, at + 4).join('.') : groups(bytes, at),
    port: bytes.readUInt16BE(portAt),
  });
  const ports = V2_START + 2 * size;
  return {
    version: 2,
    isLocal: false,
    source: read(V2_START, ports),
    destination: read(V2_START + size, ports + 2),
    ...said,
  };
}

function groups(bytes: Buffer, at: number): string {
  let text = bytes.readUInt16BE(at).toString(16);
  for (let i = 2; i < 16; i += 2) text += `:${bytes.readUInt16BE(at + i).toString(16)}`;
  return text;
}

const AUTHORITY = 0x02;
const CRC32C = 0x03;
const UNIQUE_ID = 0x05;
const SSL = 0x20;
const SSL_VERSION = 0x21;
const SSL_COMMON_NAME = 0x22;
const MAX_AUTHORITY = 255;
const MAX_UNIQUE_ID = 128;

interface Said {
  readonly tls: ProxyTls | undefined;
  readonly authority: string | undefined;
  readonly uniqueId: Buffer | undefined;
}

/**
 * Parses the type-length-value vectors after the addresses. Unknown types are skipped; a repeated known one is a fault.
 */
function readValues(bytes: Buffer, start: number): Said | ProxyHeaderFault {
  const values = vectors(bytes, start, bytes.length, VALUES);
  if (values instanceof ProxyHeaderFault) return values;
  const checksum = values.get(CRC32C);
  if (checksum !== undefined) {
    if (checksum.length !== 4) return fault('the checksum of version 2 does not have four bytes');
    if (crc32c(bytes, checksum.byteOffset - bytes.byteOffset) !== checksum.readUInt32BE()) {
      return fault('the checksum of version 2 does not match');
    }
  }
  const authority = text(values.get(AUTHORITY), MAX_AUTHORITY);
  if (authority instanceof ProxyHeaderFault) return authority;
  const uniqueId = values.get(UNIQUE_ID);
  if (uniqueId !== undefined && uniqueId.length > MAX_UNIQUE_ID) return fault('the unique id of version 2 is too long');
  const tls = readTls(values.get(SSL));
  if (tls instanceof ProxyHeaderFault) return tls;
  return { tls, authority, uniqueId: uniqueId && Buffer.from(uniqueId) };
}

const VALUES: ReadonlySet<number> = new Set([AUTHORITY, CRC32C, UNIQUE_ID, SSL]);
const TLS_VALUES: ReadonlySet<number> = new Set([SSL_VERSION, SSL_COMMON_NAME]);

function vectors(
  bytes: Buffer,
  start: number,
  end: number,
  wanted: ReadonlySet<number>,
): Map<number, Buffer> | ProxyHeaderFault {
  const values = new Map<number, Buffer>();
  for (let at = start; at < end; ) {
    if (at + 3 > end) return fault('a value of version 2 is truncated');
    const type = bytes[at]!;
    const next = at + 3 + bytes.readUInt16BE(at + 1);
    if (next > end) return fault('a value of version 2 is longer than the header');
    if (wanted.has(type)) {
      if (values.has(type)) return fault('a value of version 2 is repeated');
      values.set(type, bytes.subarray(at + 3, next));
    }
    at = next;
  }
  return values;
}

const CLIENT_SSL = 1;
const CLIENT_CERTIFICATE = 2 | 4;

function readTls(value: Buffer | undefined): ProxyTls | undefined | ProxyHeaderFault {
  if (value === undefined) return undefined;
  if (value.length < 5) return fault('the TLS value of version 2 is too short');
  const client = value[0]!;
  const values = vectors(value, 5, value.length, TLS_VALUES);
  if (values instanceof ProxyHeaderFault) return values;
  const version = text(values.get(SSL_VERSION), MAX_AUTHORITY);
  const commonName = text(values.get(SSL_COMMON_NAME), MAX_AUTHORITY);
  if (version instanceof ProxyHeaderFault) return version;
  if (commonName instanceof ProxyHeaderFault) return commonName;
  // 0 means "verified" even if there was no certificate.
  const isVerified = (client & CLIENT_CERTIFICATE) !== 0 && value.readUInt32BE(1) === 0;
  return { secure: (client & CLIENT_SSL) !== 0, version, commonName: isVerified ? commonName : undefined };
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A text that a client may have chosen: without control characters, or a fault. */
function text(value: Buffer | undefined, max: number): string | undefined | ProxyHeaderFault {
  if (value === undefined) return undefined;
  if (value.length === 0 || value.length > max) return fault('a text of version 2 is empty or too long');
  try {
    const decoded = UTF8.decode(value);
    return /[\x00-\x1f\x7f-\x9f]/.test(decoded) ? fault('a text of version 2 has control characters') : decoded;
  } catch {
    return fault('a text of version 2 is not UTF-8');
  }
}

/** Castagnoli's polynomial, reflected (RFC 9260, appendix A). The table is created with the first checksum. */
let table: Uint32Array | undefined;

function buildTable(): Uint32Array {
  const built = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
    built[i] = value >>> 0;
  }
  return built;
}

/** The checksum of the whole header, with the four bytes of the checksum itself as zeros. */
function crc32c(bytes: Buffer, checksumAt: number): number {
  table ??= buildTable();
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) {
    const byte = at >= checksumAt && at < checksumAt + 4 ? 0 : bytes[at]!;
    crc = (crc >>> 8) ^ table[(crc ^ byte) & 255]!;
  }
  return ~crc >>> 0;
}
