// @ts-nocheck
import { Sender } from './ws-internals.js';

const TEXT = 1;

/** Texts of up to this many bytes may be written as one string, from the stack, without an allocation. */
export const LONGEST_STRING = 16_000;

/** Heads of unmasked text frames (RFC 6455, section 5.2) of up to 125 bytes. */
const SHORT_HEADS = Array.from({ length: 126 }, (_, length) => String.fromCharCode(0x81, length));

/** A whole text frame, in latin1, of a text of ASCII that is no longer than {@link LONGEST_STRING}. */
export const textFrame = (text: string): string =>
  text.length < SHORT_HEADS.length
    ? SHORT_HEADS[text.length]! + text
    : String.fromCharCode(0x81, 126, text.length >> 8, text.length & 255) + text;

/** A whole ping frame, in latin1, whose payload are the four bytes of a number. */
export const pingFrame = (number: number): string =>
  String.fromCharCode(0x89, 4, number >>> 24, (number >> 16) & 255, (number >> 8) & 255, number & 255);

/** A whole text frame of any payload; `rsv1`: it is compressed (RFC 7692, section 6). */
export const frameOf = (payload: Buffer, rsv1: boolean): Buffer =>
  Buffer.concat(Sender.frame(payload, { fin: true, rsv1, opcode: TEXT, mask: false, readOnly: true }));
