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
 * What is used of Nest beyond its documentation. Nest 11 and 12 keep it in different files, which they name internal:
 * here it is learned from what their public decorators do, so that both are served and no internal file is imported.
 */

/** A module of the application, as Nest's container has it. */
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

/** The key under which a decorator has left something on a class or method. */
function learn(what: string, target: object, isIt: (value: unknown) => boolean): string {
  for (const key of Reflect.getMetadataKeys(target) as unknown[])
    if (typeof key === 'string' && isIt(Reflect.getMetadata(key, target))) return key;
  throw new Error(`This version of Nest keeps the ${what} of a class in a way that nest-secure-ws does not know`);
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

/** Keys of the metadata that Nest's decorators leave. */
export const GATEWAY_METADATA = learn('mark of a gateway', ProbedGateway, (value) => value === true);
export const PORT_METADATA = learn('port', ProbedGateway, (value) => value === PORT);
export const GATEWAY_OPTIONS = learn('options', ProbedGateway, (value) => (value as { path?: string }).path === PATH);
export const MESSAGE_MAPPING_METADATA = learn('mark of a handler', probed, (value) => value === true);
export const MESSAGE_METADATA = learn('event', probed, (value) => value === PATH);
export const EXCEPTION_FILTERS_METADATA = learn('filters', ProbedClass, holdsMarker);
export const INTERCEPTORS_METADATA = learn('interceptors', ProbedInterceptors, holdsMarker);
const SCOPE_METADATA = learn('scope', ProbedScope, (value) => (value as { scope?: Scope }).scope === Scope.REQUEST);

/** What `@Injectable({ scope })` says; `undefined` for a singleton. */
export const scopeOf = (type: object): Scope | undefined =>
  (Reflect.getMetadata(SCOPE_METADATA, type) as { scope?: Scope } | undefined)?.scope;

/** Whether Nest's own filter sends to sockets of `ws` (12), or only calls their `emit` (11). */
export const baseFilterSends = 'emitMessage' in BaseWsExceptionFilter.prototype;

/** Whether Nest makes request-scoped gateways for each call (12), or one without its dependencies for all (11). */
export const hasScopedGateways = baseFilterSends;

/** Whether Nest asks the HTTP adapter before it calls the first hook of a shutdown (12). */
export const asksBeforeClose = 'prepareClose' in core.NestApplication.prototype;

reportUse('nest', asksBeforeClose ? '12' : '11');

/** Whether an error of Nest's injector has this class; the classes are in files of its own. */
export const isNestError = (error: unknown, ...names: readonly string[]): boolean =>
  error instanceof Error && names.includes(error.constructor.name);

/** Has the providers of a module made in Nest's preview mode too, where no others are. */
export function initOnPreview(module: Type): void {
  const { InitializeOnPreviewAllowlist: list } = core as { InitializeOnPreviewAllowlist?: { add(type: Type): void } };
  list?.add(module);
}

/** What an HTTP guard is told of a call. */
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
