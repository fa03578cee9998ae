import { headerValue } from '../compression/parameters.js';
import { EXTENSION_NAME } from '../compression/settings.js';
import type { Peer } from '../connection/context.js';
import { SecureSocket } from '../connection/secure-socket.js';
import { toIncomingMessage } from '../handshake/request.js';
import { acceptanceText } from '../handshake/respond.js';
import { chooseSubprotocol } from '../handshake/subprotocol.js';
import type { Passage } from './passage.js';

/** Makes a connection of a passage, to which its slot and its address entry belong then; false where that fails. */
export function enter(passage: Passage, head: Buffer): boolean {
  const release = releaseOf(passage);
  try {
    if (welcome(passage, head, release)) return true;
  } catch (error) {
    passage.engine.telemetry.fault('internal', error);
  }
  release();
  return false;
}

function releaseOf({ engine, entry, reservation }: Passage): () => void {
  let isReleased = false;
  return () => {
    if (isReleased) return;
    isReleased = true;
    reservation?.release();
    engine.addresses.release(entry);
  };
}

/**
 * 9: the handshake. Subprotocol, compression, the 101, and only then a `WebSocket`.
 * False where the socket has gone meanwhile; the caller still owns everything then.
 */
function welcome(passage: Passage, head: Buffer, release: () => void): boolean {
  const { endpoint, request, admitted, port } = passage;
  const socket = passage.wire.release();
  if (socket === undefined) return false;
  const subprotocol = chooseSubprotocol(
    admitted.subprotocol,
    endpoint.settings.connections.subprotocols,
    request.protocols,
  );
  const deflate = endpoint.compression.accept(request.extensions);
  const text = acceptanceText({
    key: request.key,
    server: port.serverHeader,
    subprotocol,
    extensions: deflate && headerValue(deflate.params),
    headers: admitted.headers,
  });
  socket.write(text, 'latin1');
  const extensions = deflate && { [EXTENSION_NAME]: deflate };
  const peer = new Welcomed(passage, release);
  const webSocket = new SecureSocket({ context: endpoint, raw: socket, peer, extensions, subprotocol });
  endpoint.opened(webSocket, endpoint.needsRequest ? toIncomingMessage(passage.head, socket) : undefined);
  webSocket.begin(head);
  return true;
}

/** What is kept of a passage for as long as the connection lives: nothing that holds the request in memory. */
class Welcomed implements Peer {
  readonly ip: string;
  readonly secure: boolean;
  readonly origin: string | undefined;
  readonly rawQuery: string;
  readonly principal: unknown;
  userKey: string | undefined;
  readonly expiresAt: number;
  readonly address: Peer['address'];

  constructor(
    { route, tls, request, admitted, entry }: Passage,
    readonly release: () => void,
  ) {
    this.ip = route.address.text;
    this.secure = tls || route.secure === true;
    this.origin = request.origin;
    this.rawQuery = request.rawQuery;
    this.principal = admitted.principal;
    this.userKey = admitted.userKey;
    this.expiresAt = admitted.expiresAt;
    this.address = entry;
  }
}
