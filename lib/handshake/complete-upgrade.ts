import { type IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { SecureSocket } from '../connection/secure-socket.js';
import type { GatewayContext, Peer } from '../connection/server-connection.js';
import { lowerCaseHeaders } from '../http/fields.js';
import { detach } from '../http/grammar.js';
import type { RequestHead } from '../http/head.js';
import { consentLine } from '../http/probe-consent.js';
import { acceptanceText } from '../http/response.js';
import type { Compression } from '../protocol/deflate/compression.js';
import { headerValue } from '../protocol/deflate/negotiation.js';
import type { PerMessageDeflate } from '../protocol/deflate/per-message-deflate.js';
import type { UpgradeContext } from './upgrade-context.js';

/**
 * The subprotocol for the 101: the one that a guard chose, else the first of the gateway's that the client offered (RFC
 * 6455, section 4.2.2, item 5.5).
 */
export function chooseSubprotocol(
  chosen: string | undefined,
  ours: readonly string[],
  offered: readonly string[],
): string | undefined {
  return chosen ?? ours.find((protocol) => offered.includes(protocol));
}

/** The target of an accepted connection: the gateways of a path. */
export interface UpgradedGateway extends GatewayContext<SecureSocket> {
  readonly path: string;
  readonly subprotocols: readonly string[];
  readonly compression: Compression;
  /** Whether anything reads the upgrade request; otherwise it is not created. */
  readonly needsRequest: boolean;
  /** Called when subprotocols were offered and none was selected. */
  noteUnchosenSubprotocol(): void;
  /** Called when the 101 was written. */
  opened(socket: SecureSocket, request: IncomingMessage | undefined): void;
}

/**
 * Stage 9: selects subprotocol and compression, writes the 101, and then creates the `WebSocket`. From here on the slot
 * and the address entry belong to the connection. `rest`: bytes that arrived after the head. Returns false if the
 * connection cannot be set up.
 */
export function completeUpgrade(upgrade: UpgradeContext, gateway: UpgradedGateway, rest: Buffer): boolean {
  const peer = new AcceptedPeer(upgrade);
  let deflate: PerMessageDeflate | undefined;
  try {
    deflate = gateway.compression.accept(upgrade.request.extensions);
    if (open(upgrade, gateway, rest, peer, deflate)) return true;
  } catch (error) {
    upgrade.context.telemetry.fault('internal', error);
  }
  // protection: a connection that cannot be set up gives its compression contexts back
  deflate?.close();
  // end protection
  // protection: a connection that cannot be set up gives its slot back
  peer.release();
  // end protection
  return false;
}

/** Returns false if the socket has been closed in the meantime. */
function open(
  upgrade: UpgradeContext,
  gateway: UpgradedGateway,
  rest: Buffer,
  peer: Peer,
  deflate: PerMessageDeflate | undefined,
): boolean {
  const { request, admitted, listener, context } = upgrade;
  const socket = upgrade.transport.release('webSocket');
  if (socket === undefined) return false;
  const subprotocol = chooseSubprotocol(admitted.subprotocol, gateway.subprotocols, request.protocols);
  if (subprotocol === undefined && request.protocols.length > 0) gateway.noteUnchosenSubprotocol();
  const consent = consentLine(upgrade.head.rawHeaders, context.settings.probe.token);
  const text = acceptanceText({
    key: request.key,
    server: listener.serverHeader,
    subprotocol,
    extensions: deflate && headerValue(deflate.profile.agreement.params),
    headers: consent === undefined ? admitted.headers : [...admitted.headers, consent],
  });
  if (!upgrade.transport.write(text)) return false;
  const webSocket = new SecureSocket({ context: gateway, raw: socket, peer, deflate, subprotocol });
  gateway.opened(webSocket, gateway.needsRequest ? new UpgradeMessage(upgrade.head, socket) : undefined);
  upgrade.reservation?.shared?.opened(webSocket.connection);
  webSocket.connection.begin(rest);
  context.collector?.upgraded(gateway.path, upgrade.handshake.age, upgrade.guardTime);
  return true;
}

/** The facts about an upgrade that are kept while the connection is open; none of them keeps the request in memory. */
class AcceptedPeer implements Peer {
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
  private readonly addresses: UpgradeContext['context']['addresses'];
  private readonly reservation: UpgradeContext['reservation'];
  private isReleased = false;

  constructor({
    route,
    tls,
    request,
    target,
    params,
    admitted,
    entry,
    context,
    reservation,
    asyncContext,
  }: UpgradeContext) {
    const { text } = route.address;
    // The connections of an address share one string.
    this.ip = entry.key === text ? entry.key : text;
    this.secure = tls || route.secure === true;
    this.origin = request.origin;
    this.rawQuery = request.rawQuery;
    this.path = request.path === target.path ? target.path : detach(request.path);
    this.params = params;
    this.principal = admitted.principal;
    this.userKey = admitted.userKey;
    this.expiresAt = admitted.expiresAt === Number.POSITIVE_INFINITY ? undefined : admitted.expiresAt;
    this.address = entry;
    this.asyncContext = asyncContext;
    this.addresses = context.addresses;
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

/** The upgrade request for hooks. Its headers are parsed when they are first read, and its body is empty. */
class UpgradeMessage extends IncomingMessage {
  sorted: IncomingHttpHeaders | undefined = undefined;

  constructor({ method, target, version, rawHeaders }: RequestHead, socket: Socket) {
    super(socket);
    this.method = method;
    this.url = target;
    this.httpVersion = version;
    this.httpVersionMajor = this.httpVersionMinor = 1;
    this.rawHeaders = rawHeaders as string[];
    this.complete = true;
  }
}

Object.defineProperty(UpgradeMessage.prototype, 'headers', {
  configurable: true,
  get(this: { sorted: IncomingHttpHeaders | undefined; rawHeaders: string[] }): IncomingHttpHeaders {
    return (this.sorted ??= { ...lowerCaseHeaders(this.rawHeaders) });
  },
  set(this: { sorted: IncomingHttpHeaders | undefined }, headers: IncomingHttpHeaders) {
    this.sorted = headers;
  },
});
