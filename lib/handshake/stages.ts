import { checkAccess } from '../admission/access-rules.js';
import { factsOf } from '../admission/attempt.js';
import type { Awaitable } from '../admission/awaitable.js';
import type { Reservation } from '../admission/capacity.js';
import type { AdmissionGuardFunction } from '../admission/guard.js';
import { ABANDONED, type GuardOutcome, runGuards } from '../admission/guard-runner.js';
import type { SharedSlot } from '../admission/shared-slot.js';
import type { SharedAdmission } from '../cluster/shared-admission.js';
import { routeOf } from '../http/forwarding.js';
import { measureHead } from '../http/head-meter.js';
import { isRefusal, REFUSALS, type Refusal, retryLater, withDetail } from '../http/refusal.js';
import { checkRequest } from '../http/upgrade-request.js';
import { MALFORMED_PATH } from './router.js';
import type { HandshakeContext, UpgradeContext } from './upgrade-context.js';

/** The result for a path that no gateway has, whose upgrades other listeners of the server handle. */
export const FOREIGN = Object.freeze({ foreign: true as const });

/** The reason why an attempt ends; `undefined`: it passes the stage. */
export type StageExit = Refusal | typeof FOREIGN | typeof ABANDONED;
export type Stage = (upgrade: UpgradeContext) => Awaitable<StageExit | undefined>;

/**
 * From accept to the 101; the cheapest checks come first:
 *
 *  -  PROXY protocol   `server/proxy-protocol-reader.ts`, `hold`: the client that a trusted proxy relays
 *  0  accept           `server/listener.ts`, `checkAddress`: denied and banned addresses, full dedicated ports
 *  -  first bytes      `server/first-bytes.ts`, `onChunk`: on a shared port, Node's HTTP server or a handshake
 *  1  head             `handshake/pending-handshake.ts`, `onVerdict`: lines, header count, grammar, time, rate and slots
 *  2  to 8             the functions below, run by `runStages`
 *  9  101              `handshake/complete-upgrade.ts`, `open`: subprotocol, compression, response, `WebSocket`
 *
 * A stage returns a refusal, or nothing to continue. `handshake/pending-handshake.ts`, `onDecision` acts on the result:
 * it writes the 101 (`accept`) or the response of a refusal (`refuse`), or hands the connection over to Node's HTTP server
 * (`handOver`). The `WebSocket` is created in stage 9.
 */
export const STAGES: readonly Stage[] = [peer, request, route, earlyGuards, transport, capacity, guards, user];

const BAD_PARAMETER = Object.freeze(withDetail(REFUSALS.malformedRequest, 'a parameter of the path'));
const NO_BUFFERS = Object.freeze(retryLater('buffer-budget', 503, 5));

/**
 * Stage 2: determines the client's address, through trusted proxies; refuses banned addresses; counts the attempt. 403,
 * 429.
 */
function peer(upgrade: UpgradeContext): StageExit | undefined {
  const { context, head } = upgrade;
  // protection: nobody is let in during a shutdown
  if (context.draining) return REFUSALS.shutdown;
  // end protection
  const { proxied } = upgrade.transport;
  const named = proxied && { secure: proxied.header.tls?.secure };
  const client = routeOf(upgrade.peer, upgrade.tls, head.rawHeaders, context.proxy, named);
  upgrade.route = client;
  if (client.strayHeaders) context.proxyDetector.onStrayHeaders(client);
  // protection: the client behind a trusted proxy counts, not the proxy
  if (client.address !== upgrade.peer || client.isExempt !== upgrade.entry.isExempt)
    upgrade.handshake.changeAddress(upgrade, client);
  // end protection
  // protection: a banned client behind a proxy is refused
  if (!upgrade.entry.isExempt && context.bans.ofAddress(client.address) !== undefined) return REFUSALS.banned;
  // end protection
  const shared = context.cluster?.rateRefusal(upgrade.entry);
  if (shared !== undefined) return shared;
  // An attempt whose head arrived in several chunks was counted with the first one.
  if (upgrade.handshake.isCharged && upgrade.entry === upgrade.handshake.entry) return undefined;
  // protection: attempts of an address are counted
  return context.attempts.refusal(upgrade.entry);
  // end protection
}

/**
 * Stage 3: checks the request against RFC 6455 and the limits. 405, 505, 400, 426; for later requests of a connection
 * also 414, 431.
 */
function request(upgrade: UpgradeContext): StageExit | undefined {
  const { listener, head } = upgrade;
  const tooLong = measureHead(head, listener.headLimits);
  // protection: later requests of a connection meet the limits
  if (tooLong !== undefined) return tooLong;
  // end protection
  const checked = checkRequest(head);
  if (isRefusal(checked)) return checked;
  upgrade.request = checked;
  return undefined;
}

/** Stage 4: finds the target of the path. 404; 400 for a malformed parameter. */
function route(upgrade: UpgradeContext): StageExit | undefined {
  const match = upgrade.listener.router.find(upgrade.request.path);
  if (match === undefined) return upgrade.listener.passesOn(upgrade.request.path) ? FOREIGN : REFUSALS.path;
  // protection: a malformed path parameter is refused
  if (match === MALFORMED_PATH) return BAD_PARAMETER;
  // end protection
  // No library would answer the upgrade.
  // protection: an upgrade that no library would answer is refused
  if (match.value.isForeign && !upgrade.listener.hasOtherListeners) return REFUSALS.path;
  // end protection
  upgrade.target = match.value;
  upgrade.params = match.params;
  return undefined;
}

/** After stage 4: guards that the application runs before the built-in checks. Their own status. */
function earlyGuards(upgrade: UpgradeContext): Awaitable<StageExit | undefined> {
  const { earlyGuards: early } = upgrade.target;
  return early.length === 0 ? undefined : askGuards(upgrade, early);
}

/** Stage 5: checks TLS, host, origin and the lists of addresses. 403. */
function transport(upgrade: UpgradeContext): StageExit | undefined {
  // protection: TLS, host, origin and address lists are judged
  return checkAccess(upgrade.target.access, upgrade);
  // end protection
}

/**
 * Stage 6: reserves a slot if there is room per address, per gateway, in total, and in the buffers; in a cluster also
 * over all processes. 429, 503.
 */
function capacity(upgrade: UpgradeContext): Awaitable<StageExit | undefined> {
  const { context, entry, target } = upgrade;
  // protection: nobody is let in while the buffers are full
  if (context.budget.full) return NO_BUFFERS;
  // end protection
  const reserved = context.capacity.reserve(entry, target.capacity);
  return keepReservation(upgrade, reserved);
}

function keepReservation(upgrade: UpgradeContext, reserved: Reservation | Refusal): Awaitable<Refusal | undefined> {
  if (isRefusal(reserved)) return reserved;
  upgrade.reservation = reserved;
  if (upgrade.isOver) reserved.release();
  const { cluster } = upgrade.context;
  return cluster === undefined || upgrade.isOver ? undefined : reserveInCluster(upgrade, cluster, reserved);
}

function reserveInCluster(
  upgrade: UpgradeContext,
  cluster: SharedAdmission,
  reservation: Reservation,
): Awaitable<Refusal | undefined> {
  const { context, entry, target } = upgrade;
  const keepShared = (answer: SharedSlot | Refusal): Refusal | undefined => {
    if ('reason' in answer) {
      reservation.release();
      return answer;
    }
    reservation.shared = answer;
    // The attempt has ended, and the reservation was released without it.
    if (upgrade.isOver) answer.release();
    return undefined;
  };
  const answer = cluster.reserve(entry, target.capacity, context.capacity.used);
  return answer instanceof Promise ? answer.then(keepShared) : keepShared(answer);
}

/** Stage 7: runs the guards of the application, then those of the gateway. Their own status. */
function guards(upgrade: UpgradeContext): Awaitable<StageExit | undefined> {
  return askGuards(upgrade, upgrade.target.guards);
}

function askGuards(
  upgrade: UpgradeContext,
  asked: readonly AdmissionGuardFunction[],
): Awaitable<StageExit | undefined> {
  if (asked.length === 0) return undefined;
  const { target, context, admitted } = upgrade;
  const begun = context.clock.now();
  const attempt = upgrade.attempt ?? upgrade.toAttempt();
  const outcome = runGuards(asked, attempt, {
    timeout: Math.max(0, target.guardTimeout - upgrade.guardTime),
    schedule: (expire, timeout) => scheduled(context, expire, timeout),
    now: Date.now,
    admitted,
    asyncContext: upgrade.asyncContext,
    onContext: (asyncContext) => {
      upgrade.asyncContext = asyncContext;
    },
    onThrown: (error) => {
      const { rawHeaders, rawQuery } = factsOf(attempt);
      context.telemetry.fault('guard', error, target.path, { rawHeaders, rawQuery });
    },
  });
  if (!(outcome instanceof Promise)) return applyOutcome(upgrade, outcome);
  return outcome.then((settled) => {
    upgrade.guardTime += context.clock.now() - begun;
    return applyOutcome(upgrade, settled);
  });
}

function applyOutcome(upgrade: UpgradeContext, outcome: GuardOutcome): StageExit | undefined {
  if (outcome.reason !== undefined) {
    // protection: refusals by guards count towards a ban
    if (isFailure(outcome) && !upgrade.entry.isExempt) upgrade.context.failures.failed(upgrade.address);
    // end protection
    return outcome;
  }
  upgrade.admitted = outcome;
  return undefined;
}

/** Whether a guard refused because of authentication or authorization (401 or 403). */
const isFailure = (outcome: Refusal | typeof ABANDONED): boolean =>
  outcome.reason === 'guard' && (outcome.status === 401 || outcome.status === 403);

function scheduled({ wheel, clock }: HandshakeContext, expire: () => void, timeout: number): () => void {
  const timer = wheel.timer(expire, clock.now() + timeout);
  return () => wheel.cancel(timer);
}

/**
 * Stage 8: checks bans of the user, and the user's number of connections, in total and at this gateway. 403, 429. The
 * slots of the user are taken with the 101.
 */
function user(upgrade: UpgradeContext): Awaitable<StageExit | undefined> {
  const { target, admitted, reservation } = upgrade;
  const refusal = userRefusal(upgrade);
  const shared = reservation?.shared;
  if (refusal !== undefined || shared === undefined || admitted.userKey === undefined || !target.users.areCapped)
    return refusal;
  // Asynchronous guards may have taken long: check again what may have changed.
  return shared.takeUser(admitted.userKey, target.users.limits).then((elsewhere) => elsewhere ?? userRefusal(upgrade));
}

function userRefusal({ target, context, admitted: { userKey } }: UpgradeContext): Refusal | undefined {
  // protection: a banned user is refused
  if (context.bans.ofUser(userKey) !== undefined) return REFUSALS.banned;
  // end protection
  const breach = target.users.refusalFor(userKey);
  if (breach !== undefined) return breach;
  // protection: nobody is let in during a shutdown
  if (context.draining) return REFUSALS.shutdown;
  // end protection
  return undefined;
}

/** Runs the stages, synchronously unless a stage is asynchronous. Never throws, never rejects. */
export function runStages(upgrade: UpgradeContext, done: (stop: StageExit | undefined) => void, from = 0): void {
  for (let at = from; at < STAGES.length; at++) {
    if (upgrade.isOver) return;
    let stop: Awaitable<StageExit | undefined>;
    try {
      stop = STAGES[at]!(upgrade);
    } catch (error) {
      chargeElsewhere(upgrade, at);
      return done(internalError(upgrade, error));
    }
    if (stop instanceof Promise) {
      stop.then(
        (later) => {
          if (later === undefined && !upgrade.isOver) return runStages(upgrade, done, at + 1);
          chargeElsewhere(upgrade, at);
          if (later !== undefined && !upgrade.isOver) done(later);
        },
        (error: unknown) => {
          chargeElsewhere(upgrade, at);
          done(internalError(upgrade, error));
        },
      );
      return;
    }
    if (stop !== undefined) {
      chargeElsewhere(upgrade, at);
      return done(stop);
    }
  }
  if (!upgrade.isOver) done(undefined);
}

const CAPACITY_AT = STAGES.indexOf(capacity);

/** Stage 6 charges the rate that processes share; an attempt that ends before, in any way, is charged here. */
function chargeElsewhere({ context, entry }: UpgradeContext, at: number): void {
  if (at > 0 && at < CAPACITY_AT) context.cluster?.charge(entry);
}

function internalError({ context }: UpgradeContext, error: unknown): Refusal {
  context.telemetry.fault('internal', error);
  return REFUSALS.guardFailed;
}
