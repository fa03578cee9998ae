import { createHash } from 'node:crypto';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** The 101 for a key (RFC 6455, 4.2.2). `fields`: further lines of the head. */
export const acceptedWith = (key, fields = '') =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${fields}Sec-WebSocket-Accept: ${createHash(
    'sha1',
  )
    .update(key + GUID)
    .digest('base64')}\r\n\r\n`;

/** The key of a request head. */
export const keyOf = (head) => /^sec-websocket-key: *(\S+)/im.exec(head.latin1Slice())[1];

/** The length of the frame of a client at `at`; Infinity if its header has not arrived whole. Messages are shorter than 64 KiB. */
export function sizeOf(bytes, at) {
  if (bytes.length - at < 4) return Number.POSITIVE_INFINITY;
  const short = bytes[at + 1] & 0x7f;
  return short === 126 ? 4 + MASK + bytes.readUInt16BE(at + 2) : 2 + MASK + short;
}

/** Bytes of a masking key. */
export const MASK = 4;
