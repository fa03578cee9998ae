import type { CanActivate } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import type { GatewayType, UpgradeAttempt } from '../admission/attempt.js';
import type { Awaitable } from '../admission/awaitable.js';
import { isObservable, isThenable } from '../admission/awaitable.js';
import {
  type Admission,
  type AdmissionGuard,
  type AdmissionGuardFunction,
  allow,
  EarlyGuard,
} from '../admission/guard.js';
import { CallContext, isNestError, type NestModule, scopeOf } from '../compat/nest.js';
import type { GuardClass, GuardLike, PlainGuard } from '../config/code-types.js';
import { type GuardRequest, requestOf, responseOf } from '../handshake/guard-request.js';

/** The guards of an endpoint as they are called: those before the built-in ones, and those behind. */
export interface ResolvedGuards {
  readonly early: readonly AdmissionGuardFunction[];
  readonly guards: readonly AdmissionGuardFunction[];
}

/** Guards as written to guards as called: classes through dependency injection, each once per module. */
export class GuardResolver {
  private readonly made = new Map<NestModule, Map<GuardClass, unknown>>();
  private readonly prepared = new Set<unknown>();

  async resolve(guards: readonly GuardLike[], module: NestModule, gateway: GatewayType): Promise<ResolvedGuards> {
    const resolved = { early: [] as AdmissionGuardFunction[], guards: [] as AdmissionGuardFunction[] };
    for (const guard of guards) {
      const isEarly = guard instanceof EarlyGuard;
      const called = await this.toFunction(isEarly ? guard.guard : guard, module, gateway);
      resolved[isEarly ? 'early' : 'guards'].push(called);
    }
    return resolved;
  }

  private async toFunction(
    guard: PlainGuard,
    module: NestModule,
    gateway: GatewayType,
  ): Promise<AdmissionGuardFunction> {
    if (typeof guard === 'function' && !isGuardClass(guard)) return guard as AdmissionGuardFunction;
    const instance = isGuardClass(guard) ? await this.instantiate(guard, module) : guard;
    const called = named(toFunction(instance, gateway), instance);
    await this.prepare(instance as AdmissionGuard);
    return called;
  }

  /** Several gateways may have the same guard. */
  private async prepare(guard: AdmissionGuard): Promise<void> {
    if (typeof guard.prepare !== 'function' || this.prepared.has(guard)) return;
    this.prepared.add(guard);
    await guard.prepare();
  }

  /** The gateway's module's own provider, else anybody's, else one made there. */
  private async instantiate(type: GuardClass, module: NestModule): Promise<unknown> {
    const moduleRef = module.getProviderByKey<ModuleRef>(ModuleRef)?.instance as ModuleRef;
    try {
      return find(moduleRef, type, true) ?? find(moduleRef, type, false) ?? (await this.make(type, module, moduleRef));
    } catch (error) {
      throw isScopeError(error) ? scopeError(type, module) : error;
    }
  }

  private async make(type: GuardClass, module: NestModule, moduleRef: ModuleRef): Promise<unknown> {
    if (scopeOf(type)) throw scopeError(type, module);
    let made = this.made.get(module);
    if (made === undefined) this.made.set(module, (made = new Map()));
    let instance = made.get(type);
    if (instance === undefined) made.set(type, (instance = await moduleRef.create(type as never)));
    return instance;
  }
}

/** What Nest says of classes of a scope of their own, and of those that depend on one. */
const isScopeError = (error: unknown): boolean =>
  isNestError(error, 'InvalidClassScopeException', 'RequestScopedCreateException');

const scopeError = (type: GuardClass, module: NestModule): Error =>
  new Error(
    `The admission guard ${type.name} of ${module.name} is request-scoped or transient, or depends on a provider that is: it runs before there is a request in Nest's sense, so it must be a singleton of singletons`,
  );

/** A class with the method may be a compiled one; one that sets it in its constructor is known by its text only. */
const isGuardClass = (guard: PlainGuard): guard is GuardClass => {
  if (typeof guard !== 'function') return false;
  const { prototype } = guard as { prototype?: Partial<AdmissionGuard & CanActivate> };
  return (
    typeof (prototype?.admit ?? prototype?.canActivate) === 'function' ||
    /^class\b/.test(Function.prototype.toString.call(guard))
  );
};

function find(moduleRef: ModuleRef, type: GuardClass, strict: boolean): unknown {
  try {
    return moduleRef.get(type as never, { strict });
  } catch (error) {
    if (isNestError(error, 'UnknownElementException')) return undefined;
    throw error;
  }
}

function toFunction(instance: unknown, gateway: GatewayType): AdmissionGuardFunction {
  const guard = instance as Partial<AdmissionGuard & CanActivate> | null | undefined;
  if (typeof guard?.admit === 'function') return (attempt) => guard.admit!(attempt);
  if (typeof guard?.canActivate === 'function') return (attempt) => activate(guard as CanActivate, attempt, gateway);
  throw new TypeError(
    `${guard?.constructor?.name ?? String(instance)} is no guard: it has neither admit() nor canActivate()`,
  );
}

/** The name for the log. */
const named = (guard: AdmissionGuardFunction, instance: unknown): AdmissionGuardFunction =>
  Object.defineProperty(guard, 'name', { value: (instance as object).constructor?.name ?? 'guard' });

/** One of Nest's own guards, over the upgrade request: what it leaves as `request.user` becomes the principal. */
function activate(guard: CanActivate, attempt: UpgradeAttempt, gateway: GatewayType): Awaitable<Admission | boolean> {
  const request = requestOf(attempt);
  const context = new CallContext([request, responseOf(attempt), noNext], gateway, admit);
  return admissionOf(request, guard.canActivate(context), attempt);
}

/** As Nest judges a guard's answer: a promise or an observable is waited for, also one in the other. */
function admissionOf(request: GuardRequest, answer: unknown, attempt: UpgradeAttempt): Awaitable<Admission | boolean> {
  const judge = (settled: unknown) => admissionOf(request, settled, attempt);
  if (isThenable(answer)) return Promise.resolve(answer).then(judge);
  if (isObservable(answer)) return lastOf(answer, attempt.signal).then(judge);
  return answer ? request.user === undefined || allow({ principal: request.user }) : false;
}

/** What `getHandler()` answers: there is no handler before the 101. */
function admit(): void {}

function noNext(): never {
  throw new Error('There is nothing behind an admission guard: return true or false');
}

/** Its last value; `false` where there is none. Unsubscribed from when the attempt is over. */
const lastOf = (observable: { subscribe(observer: object): unknown }, signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve, reject) => {
    let last: unknown = false;
    const subscription = observable.subscribe({
      next: (value: unknown) => (last = value),
      error: reject,
      complete: () => resolve(last),
    }) as { unsubscribe?(): void } | undefined;
    const stop = (): void => {
      try {
        subscription?.unsubscribe?.();
      } catch (error) {
        // Too late to be heard, where the attempt has been decided: what an abandoned guard throws is of no interest.
        reject(error);
      }
    };
    signal.addEventListener('abort', stop, { once: true });
  });
