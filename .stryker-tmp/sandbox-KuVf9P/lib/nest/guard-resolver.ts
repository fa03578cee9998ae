// @ts-nocheck
import type { CanActivate } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { InvalidClassScopeException } from '@nestjs/core/errors/exceptions/invalid-class-scope.exception.js';
import { RequestScopedCreateException } from '@nestjs/core/errors/exceptions/request-scoped-create.exception.js';
import { UnknownElementException } from '@nestjs/core/errors/exceptions/unknown-element.exception.js';
import { ExecutionContextHost, type Module } from '@nestjs/core/internal';
import type { Awaitable } from '../admission/admission-store.js';
import type { GatewayType, UpgradeAttempt } from '../admission/attempt.js';
import {
  type Admission,
  type AdmissionGuard,
  type AdmissionGuardFunction,
  allow,
  EarlyGuard,
} from '../admission/guard.js';
import type { GuardClass, GuardLike, PlainGuard } from '../config/code-types.js';
import { isObservable } from '../dispatch/task.js';
import { type GuardRequest, refusingResponse, requestOf } from '../handshake/guard-request.js';

/** The guards of an endpoint as they are called: those before the built-in ones, and those behind. */
export interface ResolvedGuards {
  readonly early: readonly AdmissionGuardFunction[];
  readonly guards: readonly AdmissionGuardFunction[];
}

/** Guards as written to guards as called: classes through dependency injection, each once per module. */
export class GuardResolver {
  private readonly made = new Map<Module, Map<GuardClass, unknown>>();

  async resolve(guards: readonly GuardLike[], module: Module, gateway: GatewayType): Promise<ResolvedGuards> {
    const resolved = { early: [] as AdmissionGuardFunction[], guards: [] as AdmissionGuardFunction[] };
    for (const guard of guards) {
      const isEarly = guard instanceof EarlyGuard;
      const called = await this.toFunction(isEarly ? guard.guard : guard, module, gateway);
      resolved[isEarly ? 'early' : 'guards'].push(called);
    }
    return resolved;
  }

  private async toFunction(guard: PlainGuard, module: Module, gateway: GatewayType): Promise<AdmissionGuardFunction> {
    if (typeof guard === 'function' && !isGuardClass(guard)) return guard as AdmissionGuardFunction;
    const instance = isGuardClass(guard) ? await this.instantiate(guard, module) : guard;
    return named(toFunction(instance, gateway), instance);
  }

  /** The gateway's module's own provider, else anybody's, else one made there. */
  private async instantiate(type: GuardClass, module: Module): Promise<unknown> {
    const moduleRef = module.getProviderByKey<ModuleRef>(ModuleRef)?.instance as ModuleRef;
    try {
      return find(moduleRef, type, true) ?? find(moduleRef, type, false) ?? (await this.make(type, module, moduleRef));
    } catch (error) {
      throw isScopeError(error) ? scopeError(type, module) : error;
    }
  }

  private async make(type: GuardClass, module: Module, moduleRef: ModuleRef): Promise<unknown> {
    if ((Reflect.getMetadata(SCOPE_OPTIONS, type) as { scope?: unknown } | undefined)?.scope)
      throw scopeError(type, module);
    let made = this.made.get(module);
    if (made === undefined) this.made.set(module, (made = new Map()));
    let instance = made.get(type);
    if (instance === undefined) made.set(type, (instance = await moduleRef.create(type as never)));
    return instance;
  }
}

/** Nest's key for what `@Injectable({ scope })` says. */
const SCOPE_OPTIONS = 'scope:options';
/** What Nest says of classes of a scope of their own, and of those that depend on one. */
const isScopeError = (error: unknown): boolean =>
  error instanceof InvalidClassScopeException || error instanceof RequestScopedCreateException;

const scopeError = (type: GuardClass, module: Module): Error =>
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
    if (error instanceof UnknownElementException) return undefined;
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
  const context = new ExecutionContextHost([request, refusingResponse()], gateway as never, admit);
  context.setType('http');
  const answer: unknown = guard.canActivate(context);
  if (isObservable(answer)) return lastOf(answer).then((allowed) => admissionOf(request, allowed));
  if (answer instanceof Promise) return answer.then((allowed: unknown) => admissionOf(request, allowed));
  return admissionOf(request, answer);
}

const admissionOf = (request: GuardRequest, allowed: unknown): Admission | boolean =>
  allowed ? request.user === undefined || allow({ principal: request.user }) : false;

/** What `getHandler()` answers: there is no handler before the 101. */
function admit(): void {}

const lastOf = (observable: { subscribe(observer: object): unknown }): Promise<boolean> =>
  new Promise((resolve, reject) => {
    let last = false;
    observable.subscribe({ next: (value: boolean) => (last = value), error: reject, complete: () => resolve(last) });
  });
