import { CloseCode } from './close-codes.js';

/** Which side of the connection this is: a server reads masked frames and writes plain ones, a client the reverse. */
export type Role = 'server' | 'client';

/** Opcodes (RFC 6455, 5.2). Control frames have opcodes from 8 on. */
export const Opcode = Object.freeze({ CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const);
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

/** Bits of the first byte of a frame. */
export const FIN = 0x80;
export const RSV1 = 0x40;
export const RSV2_AND_3 = 0x30;
/** Bit of the second byte. */
export const MASK = 0x80;

/** The longest payload of a control frame (RFC 6455, 5.5). */
export const MAX_CONTROL_BYTES = 125;

/** Why a connection must be failed (RFC 6455, 7.1.7): for the close frame and the error event. */
export interface ProtocolError {
  /** Close code to send (RFC 6455, 7.4.1). */
  readonly code: CloseCode;
  /** What was wrong, at most 123 bytes. */
  readonly reason: string;
  /** The name under which `ws` documents the error: the `code` of its `Error`. */
  readonly errorCode: string;
}

const invalid = (reason: string, errorCode: string): ProtocolError =>
  Object.freeze({ code: CloseCode.PROTOCOL_ERROR, reason, errorCode });

/** All protocol errors of a peer. */
export const Failure = Object.freeze({
  RSV1: invalid('RSV1 must be clear', 'WS_ERR_UNEXPECTED_RSV_1'),
  RSV2_3: invalid('RSV2 and RSV3 must be clear', 'WS_ERR_UNEXPECTED_RSV_2_3'),
  OPCODE: invalid('invalid opcode', 'WS_ERR_INVALID_OPCODE'),
  FIN: invalid('FIN must be set', 'WS_ERR_EXPECTED_FIN'),
  MASK_MISSING: invalid('MASK must be set', 'WS_ERR_EXPECTED_MASK'),
  MASK_SET: invalid('MASK must be clear', 'WS_ERR_UNEXPECTED_MASK'),
  CONTROL_LENGTH: invalid('invalid payload length', 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH'),
  CLOSE_CODE: invalid('invalid status code', 'WS_ERR_INVALID_CLOSE_CODE'),
  UTF8: Object.freeze({
    code: CloseCode.INVALID_PAYLOAD,
    reason: 'invalid UTF-8 sequence',
    errorCode: 'WS_ERR_INVALID_UTF8',
  }),
  COMPRESSED_DATA: Object.freeze({
    code: CloseCode.INVALID_PAYLOAD,
    reason: 'invalid compressed data',
    errorCode: 'WS_ERR_INVALID_COMPRESSED_DATA',
  }),
  FRAGMENTS: Object.freeze({
    code: CloseCode.POLICY_VIOLATION,
    reason: 'too many message fragments',
    errorCode: 'WS_ERR_TOO_MANY_BUFFERED_PARTS',
  }),
  /** A declared length of 2^53 or more. */
  LENGTH: Object.freeze({
    code: CloseCode.MESSAGE_TOO_BIG,
    reason: 'message too big',
    errorCode: 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH',
  }),
  SIZE: Object.freeze({
    code: CloseCode.MESSAGE_TOO_BIG,
    reason: 'message too big',
    errorCode: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
  }),
} satisfies Record<string, ProtocolError>);
