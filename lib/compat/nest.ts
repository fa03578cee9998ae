import {
  type ArgumentsHost,
  type ContextType,
  type ExecutionContext,
  Injectable,
  Scope,
  type Type,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import * as core from '@nestjs/core';
import { BaseWsExceptionFilter, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { reportUse } from './report.js';

/**
 * Uses of Nest beyond its documentation. Nest 11 and 12 define them in different files, which Nest considers internal.
 * Here they are derived from the effects of Nest's public decorators, so that both versions are supported and no
 * internal file is imported.
 */

/** A module of the application, as Nest's container represents it. */
export type NestModule = ModulesContainer extends Map<string, infer M> ? M : never;
/** A provider of a module. */
export type ProviderWrapper = NestModule['providers'] extends Map<unknown, infer W> ? W : never;

interface Marker {
  catch(): void;
  intercept(): never;
}
const marker: Marker = {
  catch: () => undefined,
  intercept: () => {
    throw new Error('never called');
  },
};

/** The metadata key that a decorator has set on a class or a method. */
function learn(what: string, target: object, isIt: (value: unknown) => boolean): string {
  for (const key of Reflect.getMetadataKeys(target) as unknown[])
    if (typeof key === 'string' && isIt(Reflect.getMetadata(key, target))) return key;
  throw new Error(`nest-secure-ws does not support this version of Nest: the ${what} of a class was not found`);
}

const PORT = 4711;
const PATH = '/nest-secure-ws';
class ProbedGateway {
  probed(): void {}
}
WebSocketGateway(PORT, { path: PATH })(ProbedGateway);
const { probed } = ProbedGateway.prototype;
SubscribeMessage(PATH)(ProbedGateway.prototype, 'probed', { value: probed });
class ProbedClass {}
UseFilters(marker as never)(ProbedClass);
class ProbedInterceptors {}
UseInterceptors(marker as never)(ProbedInterceptors);
class ProbedScope {}
Injectable({ scope: Scope.REQUEST })(ProbedScope);

const holdsMarker = (value: unknown): boolean => Array.isArray(value) && value.includes(marker);

/** Metadata keys of Nest's decorators. */
export const GATEWAY_METADATA = learn('mark of a gateway', ProbedGateway, (value) => value === true);
export const PORT_METADATA = learn('port', ProbedGateway, (value) => value === PORT);
export const GATEWAY_OPTIONS = learn('options', ProbedGateway, (value) => (value as { path?: string }).path === PATH);
export const MESSAGE_MAPPING_METADATA = learn('mark of a handler', probed, (value) => value === true);
export const MESSAGE_METADATA = learn('event', probed, (value) => value === PATH);
export const EXCEPTION_FILTERS_METADATA = learn('filters', ProbedClass, holdsMarker);
export const INTERCEPTORS_METADATA = learn('interceptors', ProbedInterceptors, holdsMarker);
const SCOPE_METADATA = learn('scope', ProbedScope, (value) => (value as { scope?: Scope }).scope === Scope.REQUEST);

/** The scope given to `@Injectable({ scope })`; `undefined` for a singleton. */
export const scopeOf = (type: object): Scope | undefined =>
  (Reflect.getMetadata(SCOPE_METADATA, type) as { scope?: Scope } | undefined)?.scope;

/** Whether Nest's own filter sends to `ws` sockets (Nest 12), or only calls their `emit` (Nest 11). */
export const baseFilterSends = 'emitMessage' in BaseWsExceptionFilter.prototype;

/**
 * Whether Nest creates request-scoped gateways for each call (Nest 12), or a single one without its dependencies (Nest
 * 11).
 */
export const hasScopedGateways = baseFilterSends;

/** Whether Nest calls the HTTP adapter before the first hook of a shutdown (Nest 12). */
export const asksBeforeClose = 'prepareClose' in core.NestApplication.prototype;

reportUse('nest', asksBeforeClose ? '12' : '11');

/** Whether an error of Nest's injector has this class, which Nest does not export. */
export const isNestError = (error: unknown, ...names: readonly string[]): boolean =>
  error instanceof Error && names.includes(error.constructor.name);

/** Makes Nest create the providers of a module in preview mode, too. */
export function initOnPreview(module: Type): void {
  const { InitializeOnPreviewAllowlist: list } = core as { InitializeOnPreviewAllowlist?: { add(type: Type): void } };
  list?.add(module);
}

/** The execution context that an HTTP guard gets. */
export class CallContext implements ExecutionContext {
  constructor(
    private readonly args: unknown[],
    private readonly gateway: unknown,
    private readonly handler: unknown,
  ) {}

  getClass<T>(): Type<T> {
    return this.gateway as Type<T>;
  }

  getHandler(): () => unknown {
    return this.handler as () => unknown;
  }

  getArgs<T extends unknown[]>(): T {
    return this.args as T;
  }

  getArgByIndex<T>(index: number): T {
    return this.args[index] as T;
  }

  switchToRpc(): ReturnType<ArgumentsHost['switchToRpc']> {
    return { getData: <T>() => this.args[0] as T, getContext: <T>() => this.args[1] as T };
  }

  switchToHttp(): ReturnType<ArgumentsHost['switchToHttp']> {
    const [request, response, next] = this.args;
    return { getRequest: <T>() => request as T, getResponse: <T>() => response as T, getNext: <T>() => next as T };
  }

  switchToWs(): ReturnType<ArgumentsHost['switchToWs']> {
    const pattern = this.args.at(-1);
    return {
      getClient: <T>() => this.args[0] as T,
      getData: <T>() => this.args[1] as T,
      getPattern: () => pattern as string,
    };
  }

  getType<T extends string = ContextType>(): T {
    return 'http' as T;
  }
}
