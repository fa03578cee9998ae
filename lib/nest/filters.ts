import type { ArgumentsHost } from '@nestjs/common';
import { BaseWsExceptionFilter, WsException } from '@nestjs/websockets';
import type { GatewayType } from '../admission/attempt.js';
import { baseFilterSends, EXCEPTION_FILTERS_METADATA, type NestModule } from '../compat/nest.js';
import { SecureSocket } from '../connection/secure-socket.js';
import { isFault, isOfConnection, LastResortFilter, sendException, UNKNOWN_ERROR } from '../dispatch/exceptions.js';
import { requestValuesOf } from '../telemetry/redact.js';
import { methodsOf } from './gateways.js';
import { eachInstance, observe, wrap } from './hooks.js';

type Method = (this: unknown, ...args: unknown[]) => unknown;

const LAST_RESORT = new LastResortFilter();

/** Adds this library's filter after those of the application, and catches errors that those throw or reject with. */
export function wrapFilters(gateway: GatewayType, { injectables }: NestModule): void {
  const own = filtersOf(gateway);
  const methods = [...methodsOf(gateway.prototype as object)].map(([, method]) => method);
  for (const filter of new Set([...own, ...methods.flatMap(filtersOf)])) {
    if (typeof filter !== 'function') wrapFilter(filter);
    else {
      const wrapper = injectables.get(filter as never);
      if (wrapper !== undefined) eachInstance(wrapper, wrapFilter);
    }
  }
  if (!own.includes(LAST_RESORT)) Reflect.defineMetadata(EXCEPTION_FILTERS_METADATA, [LAST_RESORT, ...own], gateway);
}

const filtersOf = (target: object): unknown[] => Reflect.getMetadata(EXCEPTION_FILTERS_METADATA, target) ?? [];

function wrapFilter(filter: unknown): void {
  if (typeof (filter as { catch?: unknown } | undefined)?.catch !== 'function' || filter === LAST_RESORT) return;
  if (filter instanceof BaseWsExceptionFilter) wrapBaseFilter(filter);
  // protection: filters that fail are caught
  wrap(filter as object, 'catch', filterCatch);
  // end protection
}

const filterCatch = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const [exception, host] = args as [unknown, ArgumentsHost];
    const client: unknown = host?.getType?.() === 'ws' ? host.getArgByIndex(0) : undefined;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { connection } = client;
    const result = observe(
      () => original.apply(this, args),
      () => undefined,
      (error) => {
        connection.fault('filter', error);
        sendException(client as SecureSocket, UNKNOWN_ERROR);
      },
    );
    // A gateway could not be created for this connection, so its hooks never settle.
    if (isOfConnection(host)) connection.hookFailed(exception, requestValuesOf(host.getArgByIndex(1)));
    return result;
  };

/** Protected members of Nest's own filter. */
interface BaseFilter {
  readonly options: { includeCause?: boolean; causeFactory?: (pattern: unknown, data: unknown) => unknown };
  handleError?: HandleError;
  handleUnknownError?: HandleError;
}
type HandleError = (first: unknown, second: unknown, cause?: { pattern: unknown; data: unknown }) => void;

const BASE = BaseWsExceptionFilter.prototype as unknown as BaseFilter;
/** The default `causeFactory` of Nest's filter. */
const DEFAULT_FACTORY = String((new BaseWsExceptionFilter() as unknown as BaseFilter).options.causeFactory);

/**
 * A filter that extends Nest's own would repeat the client's message as the `cause`: it does so only if the application
 * has enabled it. Unknown errors are logged like those of this library, escaped and truncated.
 */
function wrapBaseFilter(filter: BaseWsExceptionFilter): void {
  const base = filter as unknown as BaseFilter;
  // protection: filters repeat no payload
  if (!asksForCause(filter)) base.options.includeCause = false;
  // end protection
  if (!baseFilterSends && base.handleError === BASE.handleError) wrap(filter, 'handleError', sendsError(base));
  if (base.handleUnknownError !== BASE.handleUnknownError) return;
  wrap(
    filter,
    'handleUnknownError',
    (original) =>
      function (this: unknown, ...args: unknown[]) {
        const [exception, client, cause] = args as [unknown, unknown, { pattern: unknown; data: unknown } | undefined];
        if (!(client instanceof SecureSocket)) return original.apply(this, args);
        const { includeCause, causeFactory } = base.options;
        const data: Record<string, unknown> = { status: 'error', message: UNKNOWN_ERROR };
        if (includeCause && cause) data['cause'] = causeFactory?.(cause.pattern, cause.data);
        client.sendEvent('exception', data);
        if (isFault(exception)) client.connection.fault('handler', exception);
      },
  );
}

/** Nest 11 only calls `emit` of the client, which sends nothing; this does what Nest 12 does. */
const sendsError =
  ({ options }: BaseFilter) =>
  (original: Method): Method =>
    function (this: unknown, ...args: unknown[]) {
      const [client, exception, cause] = args as [unknown, unknown, { pattern: unknown; data: unknown } | undefined];
      if (!(client instanceof SecureSocket && exception instanceof WsException)) return original.apply(this, args);
      const error = exception.getError();
      if (typeof error === 'object' && error !== null) return client.sendEvent('exception', error);
      const data: Record<string, unknown> = { status: 'error', message: error };
      if (options.includeCause && cause) data['cause'] = options.causeFactory?.(cause.pattern, cause.data);
      client.sendEvent('exception', data);
    };

/**
 * Nest sets the option to `true` if it is left out. The application has set it itself if it passes a `causeFactory` of
 * its own, if its class names the option, or if it uses Nest's class itself as a filter, which has no other purpose
 * here.
 */
function asksForCause(filter: BaseWsExceptionFilter): boolean {
  const { includeCause, causeFactory } = (filter as unknown as BaseFilter).options;
  if (!includeCause) return false;
  if (filter.constructor === BaseWsExceptionFilter || String(causeFactory) !== DEFAULT_FACTORY) return true;
  for (let type = filter.constructor; type !== BaseWsExceptionFilter; type = Object.getPrototypeOf(type) as Method) {
    if (typeof type !== 'function') return false;
    if (/\bincludeCause\b/.test(Function.prototype.toString.call(type))) return true;
  }
  return false;
}
