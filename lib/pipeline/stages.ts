import type { Reservation } from '../admission/capacity/reservation.js';
import type { GuardOutcome } from '../admission/guard-runner.js';
import { ABANDONED, runGuards } from '../admission/guard-runner.js';
import type { AdmissionGuardFunction } from '../admission/guards.js';
import { routeOf } from '../admission/proxy/client-route.js';
import { chargeAttempt } from '../admission/rate/charge.js';
import { judgeTransport } from '../admission/transport.js';
import { REFUSALS, type Refusal, retryLater } from '../errors/refusals.js';
import { checkRequest } from '../request/checks.js';
import { measureHead } from '../request/measure-head.js';
import { isRefusal } from '../request/verdicts.js';
import type { Awaitable } from '../stores/awaitable.js';
import type { Passage } from './passage.js';

/** A path that no gateway has, and that belongs to somebody else on the same server. */
export const FOREIGN = Object.freeze({ foreign: true as const });

/** What stops an attempt; `undefined` lets it pass. */
export type Stop = Refusal | typeof FOREIGN | typeof ABANDONED;
export type Stage = (passage: Passage) => Awaitable<Stop | undefined>;

/**
 * The way of an upgrade, cheapest check first. Before it: accept (0) and head (1), in the opening;
 * behind it: the handshake (9). Nothing is allocated for a connection before the last of these has passed it.
 */
export const STAGES: readonly Stage[] = [peer, request, route, earlyGuards, transport, capacity, guards, user];

const NO_BUFFERS = Object.freeze(retryLater('buffer-budget', 503, 5));

/** 2: who is it, through trusted proxies; the attempt is counted. 429. */
function peer(passage: Passage): Awaitable<Stop | undefined> {
  const { engine, head } = passage;
  if (engine.draining) return REFUSALS.shutdown;
  const client = routeOf(passage.peer, passage.tls, head.rawHeaders, engine.proxy);
  passage.route = client;
  if (client.strayHeaders) engine.hints.stray(client);
  if (client.address !== passage.peer) passage.port.moveTo(passage, client);
  return chargeAttempt(engine.store, passage.entry);
}

/** 3: is it a request that RFC 6455 knows, within the limits. 405, 505, 400, 426, and 414, 431 for later requests. */
function request(passage: Passage): Stop | undefined {
  const { port, head } = passage;
  const checked = measureHead(head, port.headLimits) ?? checkRequest(head);
  if (isRefusal(checked)) return checked;
  passage.request = checked;
  return undefined;
}

/** 4: whose is the path, byte for byte. 404. */
function route(passage: Passage): Stop | undefined {
  const endpoint = passage.port.endpoints.get(passage.request.path);
  if (endpoint === undefined) return passage.port.hasForeignUpgrades ? FOREIGN : REFUSALS.path;
  passage.endpoint = endpoint;
  return undefined;
}

/** … and the guards that the application puts before the built-in ones. Their own status. */
function earlyGuards(passage: Passage): Awaitable<Stop | undefined> {
  const { earlyGuards: early } = passage.endpoint;
  return early.length === 0 ? undefined : ask(passage, early);
}

/** 5: TLS, host, origin, lists of addresses. 403. */
function transport(passage: Passage): Stop | undefined {
  return judgeTransport(passage.endpoint.transport, passage);
}

/** 6: is there room: per address, per gateway, in total, in the buffers. Reserves a slot. 429, 503. */
function capacity(passage: Passage): Awaitable<Stop | undefined> {
  const { engine, entry, endpoint } = passage;
  if (engine.ledger.full) return NO_BUFFERS;
  const reserved = engine.capacity.reserve(entry, endpoint.capacity);
  return reserved instanceof Promise ? reserved.then((result) => keep(passage, result)) : keep(passage, reserved);
}

function keep(passage: Passage, reserved: Reservation | Refusal): Refusal | undefined {
  if (isRefusal(reserved)) return reserved;
  passage.reservation = reserved;
  if (passage.over) reserved.release();
  return undefined;
}

/** 7: the guards of the application, then those of the gateway. Their own status. */
function guards(passage: Passage): Awaitable<Stop | undefined> {
  return ask(passage, passage.endpoint.guards);
}

function ask(passage: Passage, asked: readonly AdmissionGuardFunction[]): Awaitable<Stop | undefined> {
  if (asked.length === 0) return undefined;
  const { endpoint, engine, admitted } = passage;
  const begun = engine.clock.now();
  const outcome = runGuards(asked, passage.attempt ?? passage.toAttempt(), {
    timeout: Math.max(0, endpoint.limits.hookTimeout - passage.guardTime),
    schedule: (expire, timeout) => scheduled(engine, expire, timeout),
    now: Date.now,
    said: admitted,
    onThrown: (error) => engine.telemetry.fault('guard', error, endpoint.path),
  });
  if (!(outcome instanceof Promise)) return hear(passage, outcome);
  return outcome.then((settled) => {
    passage.guardTime += engine.clock.now() - begun;
    return hear(passage, settled);
  });
}

function hear(passage: Passage, outcome: GuardOutcome): Stop | undefined {
  if (outcome.reason !== undefined) return outcome;
  passage.admitted = outcome;
  return undefined;
}

function scheduled({ wheel, clock }: Passage['engine'], expire: () => void, timeout: number): () => void {
  const timer = wheel.timer(expire, clock.now() + timeout);
  return () => wheel.cancel(timer);
}

/** 8: how many connections has this user, in all and at this gateway. 429. The slots are taken with the 101. */
function user({ endpoint, engine, admitted: { userKey } }: Passage): Stop | undefined {
  return endpoint.users.breach(userKey) ?? (engine.draining ? REFUSALS.shutdown : undefined);
}

/** Sends a passage through the stages; at once, as long as no stage has to wait. Never throws, never rejects. */
export function travel(passage: Passage, done: (stop: Stop | undefined) => void, from = 0): void {
  for (let at = from; at < STAGES.length; at++) {
    if (passage.over) return;
    let stop: Awaitable<Stop | undefined>;
    try {
      stop = STAGES[at]!(passage);
    } catch (error) {
      return done(broken(passage, error));
    }
    if (stop instanceof Promise) {
      stop.then(
        (later) => {
          if (passage.over) return;
          if (later === undefined) travel(passage, done, at + 1);
          else done(later);
        },
        (error: unknown) => done(broken(passage, error)),
      );
      return;
    }
    if (stop !== undefined) return done(stop);
  }
  if (!passage.over) done(undefined);
}

function broken({ engine }: Passage, error: unknown): Refusal {
  engine.telemetry.fault('internal', error);
  return REFUSALS.guardFailed;
}
