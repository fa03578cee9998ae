import { SecureSocket } from '../connection/secure-socket.js';
import type { Peer } from '../connection/server-connection.js';
import { detach } from '../http/grammar.js';
import { consentLine } from '../http/probe-consent.js';
import { acceptanceText } from '../http/response.js';
import { headerValue } from '../protocol/deflate/negotiation.js';
import type { Endpoint } from '../server/endpoint.js';
import { toIncomingMessage } from './incoming-message.js';
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
  // protection: a connection that cannot be set up gives its slot back
  peer.release();
  // end protection
  return false;
}

/**
 * 9: the handshake. Subprotocol, compression, the 101, and only then a `WebSocket`.
 * False where the socket has gone meanwhile; the caller still owns everything then.
 */
function completeUpgrade(upgrade: UpgradeContext, head: Buffer, peer: Peer): boolean {
  const { request, admitted, port } = upgrade;
  const endpoint = upgrade.endpoint as Endpoint;
  const socket = upgrade.transport.release('webSocket');
  if (socket === undefined) return false;
  const subprotocol = chooseSubprotocol(
    admitted.subprotocol,
    endpoint.settings.connections.subprotocols,
    request.protocols,
  );
  if (subprotocol === undefined && request.protocols.length > 0) endpoint.noteUnchosenSubprotocol();
  const deflate = endpoint.compression.accept(request.extensions);
  const consent = consentLine(upgrade.head.rawHeaders, upgrade.engine.settings.probe.token);
  const text = acceptanceText({
    key: request.key,
    server: port.serverHeader,
    subprotocol,
    extensions: deflate && headerValue(deflate.profile.agreement.params),
    headers: consent === undefined ? admitted.headers : [...admitted.headers, consent],
  });
  socket.write(text, 'latin1');
  const webSocket = new SecureSocket({ context: endpoint, raw: socket, peer, deflate, subprotocol });
  endpoint.opened(webSocket, endpoint.needsRequest ? toIncomingMessage(upgrade.head, socket) : undefined);
  upgrade.reservation?.shared?.opened(webSocket.connection);
  webSocket.connection.begin(head);
  upgrade.engine.collector?.upgraded(endpoint.path, upgrade.handshake.age, upgrade.guardTime);
  return true;
}

/** What is kept of a passage for as long as the connection lives: nothing that holds the request in memory. */
class Welcomed implements Peer {
  readonly ip: string;
  readonly secure: boolean;
  readonly origin: string | undefined;
  readonly rawQuery: string;
  readonly path: string;
  readonly params: Peer['params'];
  principal: unknown;
  userKey: string | undefined;
  readonly expiresAt: number | undefined;
  readonly address: Peer['address'];
  asyncContext: Peer['asyncContext'];
  private readonly addresses: UpgradeContext['engine']['addresses'];
  private readonly reservation: UpgradeContext['reservation'];
  private isReleased = false;

  constructor({
    route,
    tls,
    request,
    endpoint,
    params,
    admitted,
    entry,
    engine,
    reservation,
    asyncContext,
  }: UpgradeContext) {
    this.ip = route.address.text;
    this.secure = tls || route.secure === true;
    this.origin = request.origin;
    this.rawQuery = request.rawQuery;
    this.path = request.path === endpoint.path ? endpoint.path : detach(request.path);
    this.params = params;
    this.principal = admitted.principal;
    this.userKey = admitted.userKey;
    this.expiresAt = admitted.expiresAt === Number.POSITIVE_INFINITY ? undefined : admitted.expiresAt;
    this.address = entry;
    this.asyncContext = asyncContext;
    this.addresses = engine.addresses;
    this.reservation = reservation;
  }

  get shared(): Peer['shared'] {
    return this.reservation?.shared;
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    // protection: a closed connection gives its slot back
    this.reservation?.release();
    // end protection
    // protection: a closed connection releases the address
    this.addresses.release(this.address);
    // end protection
  }

  keepAddress(): () => void {
    return this.addresses.hold(this.address);
  }
}
