/** Thrown by a `messageParser`: this peer sends what cannot be understood here. The connection is closed with 1003. */
export class UnsupportedDataError extends Error {
  override readonly name = 'UnsupportedDataError';
}
