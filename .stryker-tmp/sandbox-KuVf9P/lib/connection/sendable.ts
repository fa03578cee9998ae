/** Called when the message was handed to the operating system, or with what came in between. */
// @ts-nocheck

export type SendCallback = (error?: Error) => void;
/** The same for a ping or a pong. */
export type ControlCallback = (error: Error) => void;
/** Options of a message, as of `ws`. */
export interface SendOptions {
  binary?: boolean | undefined;
  compress?: boolean | undefined;
  fin?: boolean | undefined;
  mask?: boolean | undefined;
}
/** What can be sent: text, or bytes. */
export type Sendable = string | ArrayBufferView | ArrayBuffer | Blob;

/** Bytes of a payload. */
export const sizeOf = (data: Sendable): number =>
  typeof data === 'string' ? Buffer.byteLength(data) : data instanceof Blob ? data.size : data.byteLength;
