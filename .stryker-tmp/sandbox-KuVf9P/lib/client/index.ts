// @ts-nocheck
export type { ConnectionAgent, ConnectOptions } from './call.js';
export { ClientSocket, type Closed } from './client-socket.js';
export { connect, reconnecting } from './connect.js';
export { SecureWsConnector } from './connector.js';
export {
  BodyTooLargeError,
  HandshakeError,
  InvalidHandshakeError,
  LineTooLongError,
  OpenTimeoutError,
  RedirectRefusedError,
  TooManyHeadersError,
  TooManyRedirectsError,
  UnexpectedStatusError,
} from './errors.js';
export type { Message } from './inbox.js';
export type { RetryEvent } from './reconnect.js';
export type { HeadersInput } from './request-head.js';
