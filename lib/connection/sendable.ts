export type SendCallback = (error?: Error) => void;
export interface SendOptions {
  binary?: boolean;
  compress?: boolean;
  fin?: boolean;
  mask?: boolean;
}
export type Sendable = string | Buffer | Uint8Array | ArrayBuffer | Blob;

/** Bytes of a payload. */
export const sizeOf = (data: Sendable): number =>
  typeof data === 'string' ? Buffer.byteLength(data) : data instanceof Blob ? data.size : data.byteLength;
