import type { CanActivate } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import type { Module } from '@nestjs/core/internal';
import { ExecutionContextHost } from '@nestjs/core/internal';
import type { GatewayType, UpgradeAttempt } from './admission/attempt.js';
import { type AdmissionGuard, type AdmissionGuardFunction, allow } from './admission/guards.js';
import { refusingResponse, requestOf } from './handshake/guard-request.js';
import type { GuardClass, GuardLike } from './options/code-types.js';

/** Guards as written to guards as called: classes through dependency injection, each once per module. */
export class GuardResolver {
  private readonly made = new Map<Module, Map<GuardClass, unknown>>();

  async resolve(guards: readonly GuardLike[], module: Module, gateway: GatewayType): Promise<AdmissionGuardFunction[]> {
    const resolved: AdmissionGuardFunction[] = [];
    for (const guard of guards) resolved.push(await this.toFunction(guard, module, gateway));
    return resolved;
  }

  private async toFunction(guard: GuardLike, module: Module, gateway: GatewayType): Promise<AdmissionGuardFunction> {
    if (typeof guard === 'function' && !isGuardClass(guard)) return guard as AdmissionGuardFunction;
    const instance = isGuardClass(guard) ? await this.instantiate(guard, module) : guard;
    return named(toFunction(instance, gateway), instance);
  }

  /** The gateway's module's own provider, else anybody's, else one made there. */
  private async instantiate(type: GuardClass, module: Module): Promise<unknown> {
    const moduleRef = module.getProviderByKey<ModuleRef>(ModuleRef)?.instance as ModuleRef;
    const provided = find(moduleRef, type, true) ?? find(moduleRef, type, false);
    if (provided !== undefined) return provided;
    let made = this.made.get(module);
    if (made === undefined) this.made.set(module, (made = new Map()));
    let instance = made.get(type);
    if (instance === undefined) made.set(type, (instance = await moduleRef.create(type as never)));
    return instance;
  }
}

const hasGuardMethod = (value: object | null | undefined): boolean =>
  typeof (value as AdmissionGuard | undefined)?.admit === 'function' ||
  typeof (value as CanActivate | undefined)?.canActivate === 'function';

const isGuardClass = (guard: GuardLike): guard is GuardClass =>
  typeof guard === 'function' && hasGuardMethod((guard as { prototype?: object }).prototype);

function find(moduleRef: ModuleRef, type: GuardClass, strict: boolean): unknown {
  try {
    return moduleRef.get(type as never, { strict });
  } catch (error) {
    if ((error as Error).name === 'UnknownElementException') return undefined;
    throw error;
  }
}

function toFunction(instance: unknown, gateway: GatewayType): AdmissionGuardFunction {
  const guard = instance as Partial<AdmissionGuard & CanActivate>;
  if (typeof guard.admit === 'function') return (attempt) => guard.admit!(attempt);
  if (typeof guard.canActivate === 'function') return (attempt) => activate(guard as CanActivate, attempt, gateway);
  throw new TypeError(
    `${(instance as object)?.constructor?.name} is no guard: it has neither admit() nor canActivate()`,
  );
}

/** The name for the log. */
const named = (guard: AdmissionGuardFunction, instance: unknown): AdmissionGuardFunction =>
  Object.defineProperty(guard, 'name', { value: (instance as object).constructor?.name ?? 'guard' });

/** One of Nest's own guards, over the upgrade request: what it leaves as `request.user` becomes the principal. */
async function activate(guard: CanActivate, attempt: UpgradeAttempt, gateway: GatewayType) {
  const request = requestOf(attempt);
  const context = new ExecutionContextHost([request, refusingResponse()], gateway as never, admit);
  context.setType('http');
  const answer = guard.canActivate(context);
  const allowed = isObservable(answer) ? await lastOf(answer) : await answer;
  if (!allowed) return false;
  return request.user === undefined ? true : allow({ principal: request.user });
}

/** What `getHandler()` answers: there is no handler before the 101. */
function admit(): void {}

const isObservable = (value: unknown): value is { subscribe(observer: object): unknown } =>
  typeof (value as { subscribe?: unknown })?.subscribe === 'function';

const lastOf = (observable: { subscribe(observer: object): unknown }): Promise<boolean> =>
  new Promise((resolve, reject) => {
    let last = false;
    observable.subscribe({ next: (value: boolean) => (last = value), error: reject, complete: () => resolve(last) });
  });
