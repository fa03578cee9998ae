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

/** The resolved guards of an endpoint: those that run before the built-in checks, and those that run after them. */
export interface ResolvedGuards {
  readonly early: readonly AdmissionGuardFunction[];
  readonly guards: readonly AdmissionGuardFunction[];
}

/** Resolves guards: classes are created by dependency injection, once per module. */
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

  /** Several gateways may use the same guard. */
  private async prepare(guard: AdmissionGuard): Promise<void> {
    if (typeof guard.prepare !== 'function' || this.prepared.has(guard)) return;
    this.prepared.add(guard);
    await guard.prepare();
  }

  /**
   * Uses the provider of the gateway's module, else one of any other module, else creates one in the gateway's module.
   */
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

/** The errors of Nest for classes with a scope, and for classes that depend on one. */
const isScopeError = (error: unknown): boolean =>
  isNestError(error, 'InvalidClassScopeException', 'RequestScopedCreateException');

const scopeError = (type: GuardClass, module: NestModule): Error =>
  new Error(
    `The admission guard ${nameOf(type)} of ${module.name} is request-scoped or transient, or depends on a provider that is: it runs before Nest creates a request, so the guard and its dependencies must be singletons`,
  );

/**
 * A class is recognised by a method of its prototype, or, if it sets the method in its constructor, by its source text.
 */
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
    `${guard?.constructor === undefined ? String(instance) : nameOf(guard.constructor)} is not a guard: it has neither admit() nor canActivate()`,
  );
}

/** The name for the log. */
const named = (guard: AdmissionGuardFunction, instance: unknown): AdmissionGuardFunction =>
  Object.defineProperty(guard, 'name', { value: nameOf((instance as object).constructor) });

/** The random name that Nest's `mixin()` gives to a class. */
const MIXIN_NAME = /^[\w-]{21}$/;
const DECLARED_NAME = /^(?:class|function)\s+(?!extends\b)([\p{ID_Start}$_][\p{ID_Continue}$]*)/u;

/**
 * The name of a class as it was declared, also if Nest's `mixin()` has replaced it; without one, that of the class that
 * it extends.
 */
function nameOf(type: unknown): string {
  if (typeof type !== 'function') return 'guard';
  const { name } = type as { name: unknown };
  if (typeof name !== 'string' || name === '') return 'guard';
  if (!MIXIN_NAME.test(name)) return name;
  const source = Function.prototype.toString.call(type);
  if (source.includes(name)) return name;
  const declared = DECLARED_NAME.exec(source)?.[1];
  if (declared !== undefined) return declared;
  const base: unknown = Object.getPrototypeOf(type);
  return base === Function.prototype ? 'guard' : nameOf(base);
}

/**
 * Adapts a Nest guard, which reads the upgrade request; the value that it sets as `request.user` becomes the principal.
 */
function activate(guard: CanActivate, attempt: UpgradeAttempt, gateway: GatewayType): Awaitable<Admission | boolean> {
  const request = requestOf(attempt);
  const context = new CallContext([request, responseOf(attempt), noNext], gateway, admit);
  return admissionOf(request, guard.canActivate(context), attempt);
}

/** Interprets a guard's result as Nest does: a promise or an observable is awaited, also if nested. */
function admissionOf(request: GuardRequest, answer: unknown, attempt: UpgradeAttempt): Awaitable<Admission | boolean> {
  const judge = (settled: unknown) => admissionOf(request, settled, attempt);
  if (isThenable(answer)) return Promise.resolve(answer).then(judge);
  if (isObservable(answer)) return lastOf(answer, attempt.signal).then(judge);
  return answer ? request.user === undefined || allow({ principal: request.user }) : false;
}

/** The result of `getHandler()`: there is no handler before the 101. */
function admit(): void {}

function noNext(): never {
  throw new Error('There is no handler after an admission guard: return true or false');
}

/** The last value of an observable, or `false` if there is none. Unsubscribes when the attempt ends. */
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
        // The attempt was already decided: errors of an abandoned guard are ignored.
        reject(error);
      }
    };
    signal.addEventListener('abort', stop, { once: true });
  });
