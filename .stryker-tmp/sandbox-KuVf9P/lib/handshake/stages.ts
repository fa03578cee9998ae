// @ts-nocheck
import { type Awaitable, chargeAttempt } from '../admission/admission-store.js';
import type { Reservation } from '../admission/capacity.js';
import type { AdmissionGuardFunction } from '../admission/guard.js';
import { ABANDONED, type GuardOutcome, runGuards } from '../admission/guard-runner.js';
import { judgeTransport } from '../admission/transport.js';
import { measureHead } from '../http/head-meter.js';
import { isRefusal, REFUSALS, type Refusal, retryLater } from '../http/refusal.js';
import { checkRequest } from '../http/upgrade-request.js';
import { routeOf } from '../net/forwarding.js';
import type { UpgradeContext } from './upgrade-context.js';

/** A path that no gateway has, and that belongs to somebody else on the same server. */
export const FOREIGN = Object.freeze({ foreign: true as const });

/** What stops an attempt; `undefined` lets it pass. */
export type Stop = Refusal | typeof FOREIGN | typeof ABANDONED;
export type Stage = (upgrade: UpgradeContext) => Awaitable<Stop | undefined>;

/**
 * The way of an upgrade, cheapest check first. Before it: accept (0) and head (1), in the opening;
 * behind it: the handshake (9). Nothing is allocated for a connection before the last of these has passed it.
 */
export const STAGES: readonly Stage[] = [peer, request, route, earlyGuards, transport, capacity, guards, user];

const NO_BUFFERS = Object.freeze(retryLater('buffer-budget', 503, 5));

/** 2: who is it, through trusted proxies; the attempt is counted. 429. */
function peer(upgrade: UpgradeContext): Awaitable<Stop | undefined> {
  const { engine, head } = upgrade;
  if (engine.draining) return REFUSALS.shutdown;
  const client = routeOf(upgrade.peer, upgrade.tls, head.rawHeaders, engine.proxy);
  upgrade.route = client;
  if (client.strayHeaders) engine.hints.stray(client);
  if (client.address !== upgrade.peer) upgrade.port.moveTo(upgrade, client);
  return chargeAttempt(engine.store, upgrade.entry);
}

/** 3: is it a request that RFC 6455 knows, within the limits. 405, 505, 400, 426, and 414, 431 for later requests. */
function request(upgrade: UpgradeContext): Stop | undefined {
  const { port, head } = upgrade;
  const checked = measureHead(head, port.headLimits) ?? checkRequest(head);
  if (isRefusal(checked)) return checked;
  upgrade.request = checked;
  return undefined;
}

/** 4: whose is the path, byte for byte. 404. */
function route(upgrade: UpgradeContext): Stop | undefined {
  const endpoint = upgrade.port.endpoints.get(upgrade.request.path);
  if (endpoint === undefined) return upgrade.port.hasForeignUpgrades ? FOREIGN : REFUSALS.path;
  upgrade.endpoint = endpoint;
  return undefined;
}

/** … and the guards that the application puts before the built-in ones. Their own status. */
function earlyGuards(upgrade: UpgradeContext): Awaitable<Stop | undefined> {
  const { earlyGuards: early } = upgrade.endpoint;
  return early.length === 0 ? undefined : ask(upgrade, early);
}

/** 5: TLS, host, origin, lists of addresses. 403. */
function transport(upgrade: UpgradeContext): Stop | undefined {
  return judgeTransport(upgrade.endpoint.transport, upgrade);
}

/** 6: is there room: per address, per gateway, in total, in the buffers. Reserves a slot. 429, 503. */
function capacity(upgrade: UpgradeContext): Awaitable<Stop | undefined> {
  const { engine, entry, endpoint } = upgrade;
  if (engine.budget.full) return NO_BUFFERS;
  const reserved = engine.capacity.reserve(entry, endpoint.capacity);
  return reserved instanceof Promise ? reserved.then((result) => keep(upgrade, result)) : keep(upgrade, reserved);
}

function keep(upgrade: UpgradeContext, reserved: Reservation | Refusal): Refusal | undefined {
  if (isRefusal(reserved)) return reserved;
  upgrade.reservation = reserved;
  if (upgrade.over) reserved.release();
  return undefined;
}

/** 7: the guards of the application, then those of the gateway. Their own status. */
function guards(upgrade: UpgradeContext): Awaitable<Stop | undefined> {
  return ask(upgrade, upgrade.endpoint.guards);
}

function ask(upgrade: UpgradeContext, asked: readonly AdmissionGuardFunction[]): Awaitable<Stop | undefined> {
  if (asked.length === 0) return undefined;
  const { endpoint, engine, admitted } = upgrade;
  const begun = engine.clock.now();
  const outcome = runGuards(asked, upgrade.attempt ?? upgrade.toAttempt(), {
    timeout: Math.max(0, endpoint.limits.hookTimeout - upgrade.guardTime),
    schedule: (expire, timeout) => scheduled(engine, expire, timeout),
    now: Date.now,
    said: admitted,
    onThrown: (error) => engine.telemetry.fault('guard', error, endpoint.path),
  });
  if (!(outcome instanceof Promise)) return hear(upgrade, outcome);
  return outcome.then((settled) => {
    upgrade.guardTime += engine.clock.now() - begun;
    return hear(upgrade, settled);
  });
}

function hear(upgrade: UpgradeContext, outcome: GuardOutcome): Stop | undefined {
  if (outcome.reason !== undefined) return outcome;
  upgrade.admitted = outcome;
  return undefined;
}

function scheduled({ wheel, clock }: UpgradeContext['engine'], expire: () => void, timeout: number): () => void {
  const timer = wheel.timer(expire, clock.now() + timeout);
  return () => wheel.cancel(timer);
}

/** 8: how many connections has this user, in all and at this gateway. 429. The slots are taken with the 101. */
function user({ endpoint, engine, admitted: { userKey } }: UpgradeContext): Stop | undefined {
  return endpoint.users.breach(userKey) ?? (engine.draining ? REFUSALS.shutdown : undefined);
}

/** Sends a passage through the stages; at once, as long as no stage has to wait. Never throws, never rejects. */
export function runStages(upgrade: UpgradeContext, done: (stop: Stop | undefined) => void, from = 0): void {
  for (let at = from; at < STAGES.length; at++) {
    if (upgrade.over) return;
    let stop: Awaitable<Stop | undefined>;
    try {
      stop = STAGES[at]!(upgrade);
    } catch (error) {
      return done(broken(upgrade, error));
    }
    if (stop instanceof Promise) {
      stop.then(
        (later) => {
          if (upgrade.over) return;
          if (later === undefined) runStages(upgrade, done, at + 1);
          else done(later);
        },
        (error: unknown) => done(broken(upgrade, error)),
      );
      return;
    }
    if (stop !== undefined) return done(stop);
  }
  if (!upgrade.over) done(undefined);
}

function broken({ engine }: UpgradeContext, error: unknown): Refusal {
  engine.telemetry.fault('internal', error);
  return REFUSALS.guardFailed;
}
