// @ts-nocheck
import { headerValue } from '../compression/parameters.js';
import { EXTENSION_NAME } from '../compression/settings.js';
import type { Peer } from '../connection/context.js';
import { SecureSocket } from '../connection/secure-socket.js';
import { acceptanceText } from '../http/response.js';
import { toIncomingMessage } from './guard-request.js';
import type { UpgradeContext } from './upgrade-context.js';

/** The subprotocol for the 101: what a guard chose, else the first of ours that was offered (RFC 6455, section 4.2.2, item 5.5). */
export function chooseSubprotocol(
  chosen: string | undefined,
  ours: readonly string[],
  offered: readonly string[],
): string | undefined {
  return chosen ?? ours.find((protocol) => offered.includes(protocol));
}

/** Makes a connection of a passage, to which its slot and its address entry belong then; false where that fails. */
export function enter(upgrade: UpgradeContext, head: Buffer): boolean {
  const peer = new Welcomed(upgrade);
  try {
    if (completeUpgrade(upgrade, head, peer)) return true;
  } catch (error) {
    upgrade.engine.telemetry.fault('internal', error);
  }
  peer.release();
  return false;
}

/**
 * 9: the handshake. Subprotocol, compression, the 101, and only then a `WebSocket`.
 * False where the socket has gone meanwhile; the caller still owns everything then.
 */
function completeUpgrade(upgrade: UpgradeContext, head: Buffer, peer: Peer): boolean {
  const { endpoint, request, admitted, port } = upgrade;
  const socket = upgrade.transport.release();
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
  const webSocket = new SecureSocket({ context: endpoint, raw: socket, peer, extensions, subprotocol });
  endpoint.opened(webSocket, endpoint.needsRequest ? toIncomingMessage(upgrade.head, socket) : undefined);
  webSocket.begin(head);
  return true;
}

/** What is kept of a passage for as long as the connection lives: nothing that holds the request in memory. */
class Welcomed implements Peer {
  readonly ip: string;
  readonly secure: boolean;
  readonly origin: string | undefined;
  readonly rawQuery: string;
  principal: unknown;
  userKey: string | undefined;
  readonly expiresAt: number | undefined;
  readonly address: Peer['address'];
  private readonly addresses: UpgradeContext['engine']['addresses'];
  private readonly reservation: UpgradeContext['reservation'];
  private isReleased = false;

  constructor({ route, tls, request, admitted, entry, engine, reservation }: UpgradeContext) {
    this.ip = route.address.text;
    this.secure = tls || route.secure === true;
    this.origin = request.origin;
    this.rawQuery = request.rawQuery;
    this.principal = admitted.principal;
    this.userKey = admitted.userKey;
    this.expiresAt = admitted.expiresAt === Number.POSITIVE_INFINITY ? undefined : admitted.expiresAt;
    this.address = entry;
    this.addresses = engine.addresses;
    this.reservation = reservation;
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.reservation?.release();
    this.addresses.release(this.address);
  }
}
