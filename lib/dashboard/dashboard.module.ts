import type { IncomingMessage } from 'node:http';
import {
  type CanActivate,
  Controller,
  type DynamicModule,
  Get,
  Inject,
  Injectable,
  Logger,
  Module,
  type OnApplicationShutdown,
  type OnModuleInit,
  Post,
  Req,
  Res,
  type Type,
  UseGuards,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { SecureWsBans } from '../admission/bans.js';
import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import { SecureWsBroadcaster } from '../dispatch/broadcaster.js';
import { SecureWsRuntime } from '../nest/runtime.js';
import { line } from '../telemetry/log.js';
import { SecureWsStats } from '../telemetry/stats.js';
import type { ASSETS } from './assets.generated.js';
import { type AuditEvent, Dashboard, type DashboardSource, MAX_ROWS, publishAudit } from './dashboard.service.js';
import type { ConnectionRow, NodeRow } from './nodes.js';
import { judgeRequest, type RequestFacts } from './request-facts.js';
import { DashboardSessions, LoginLimit, MIN_TOKEN_LENGTH, SESSION_TIME } from './session.js';

export interface SecureWsDashboardOptions {
  /** Path of the page. Default: `/ws-admin`. */
  readonly path?: string;
  /** The token for the login; at least 32 characters. Default: `WEBSOCKETS_DASHBOARD_TOKEN`. */
  readonly token?: string;
  /** Nest guards in place of the token: they are called for every request, and there is no login. */
  readonly guards?: readonly (Type<CanActivate> | CanActivate)[];
  /** `false` lets operators disconnect, ban, unban and drain. Default: `true`. */
  readonly readonly?: boolean;
}

/** The parts of a request that are used; they are the same on Express and Fastify. */
interface DashboardRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly originalUrl?: string;
  readonly raw?: unknown;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

const DEFAULT_PATH = '/ws-admin';
/** Actions that other pages could cause by a link, because they need no login, or with the operator's cookie. */
const CHANGING: ReadonlySet<string> = new Set(['login', 'logout']);
const JSON_TYPE = 'application/json; charset=utf-8';
const CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');
const SECURITY_HEADERS: Readonly<Record<string, string>> = Object.freeze({
  'Content-Security-Policy': CSP,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
});

const json = (value: unknown, status = 200, headers?: Readonly<Record<string, string>>): Answer => ({
  status,
  headers: { 'Content-Type': JSON_TYPE, ...headers },
  body: JSON.stringify(value),
});
const problem = (status: number, message: string, headers?: Readonly<Record<string, string>>): Answer =>
  json({ message }, status, headers);

/** Handles the requests of the page. */
@Injectable()
export class SecureWsDashboard implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = new Logger('SecureWsDashboard');
  private readonly dashboard: Dashboard<Connection>;
  private readonly sessions: DashboardSessions | undefined;
  private readonly logins = new LoginLimit();
  private assets: typeof ASSETS = {};

  constructor(
    private readonly runtime: SecureWsRuntime,
    stats: SecureWsStats,
    private readonly bans: SecureWsBans,
    private readonly broadcaster: SecureWsBroadcaster,
    @Inject('nest-secure-ws:dashboard-options') private readonly options: SecureWsDashboardOptions,
  ) {
    this.dashboard = new Dashboard(sourceOf(runtime, stats), options.readonly !== false);
    this.sessions = this.sessionsOf(options);
  }

  /** @hidden */
  async onModuleInit(): Promise<void> {
    // Loaded here: an application without a dashboard pays no memory for its page.
    this.assets = (await import('./assets.generated.js')).ASSETS;
    this.runtime.subscribe(this.dashboard);
    this.runtime.dashboard = (question) => this.dashboard.answer(question);
    this.dashboard.start();
  }

  /** @hidden */
  onApplicationShutdown(): void {
    this.dashboard.stop();
  }

  /** @internal Handles every request below the path. */
  async answer(action: string, request: DashboardRequest): Promise<Answer> {
    const facts = judgeRequest((request.raw ?? request) as IncomingMessage, this.runtime.server);
    // protection: dashboard: other hosts and origins are refused
    if (facts.refused !== undefined) return problem(403, 'This host or origin may not use the dashboard.');
    // end protection
    if (action === '') return this.page(request);
    const asset = Object.hasOwn(this.assets, action) ? this.assets[action] : undefined;
    if (asset !== undefined)
      return { status: 200, headers: { 'Content-Type': asset.type, 'Cache-Control': 'no-cache' }, body: asset.body };
    // protection: dashboard: only the page itself acts
    if (request.method === 'POST' && request.headers['x-nest-secure-ws'] !== 'dashboard')
      return problem(403, 'The request did not come from the dashboard.');
    // end protection
    // protection: dashboard: a link cannot log in, or out
    if (request.method !== 'POST' && CHANGING.has(action)) return problem(405, 'Use POST.', { Allow: 'POST' });
    // end protection
    if (action === 'login') return this.login(request, facts);
    // protection: dashboard: nothing without a login
    if (!this.isLoggedIn(request, facts)) return problem(401, 'Log in first.');
    // end protection
    if (action === 'logout') return this.logout(facts);
    return request.method === 'POST' ? this.act(action, request, facts) : this.read(action, request);
  }

  /** The page uses relative URLs, so the path must end with a slash. */
  private page({ originalUrl = '' }: DashboardRequest): Answer {
    const [path = ''] = originalUrl.split('?');
    const folder = path.endsWith('/') ? '' : `${lastSegment(this.options.path ?? DEFAULT_PATH)}/`;
    const { type, body } = this.assets['']!;
    return {
      status: 200,
      headers: { 'Content-Type': type },
      body: body.replace(/(src|href)="(?=app\.|style\.)/g, `$1="${folder}`),
    };
  }

  private async read(action: string, { query }: DashboardRequest): Promise<Answer> {
    if (action === 'overview') return json(await this.dashboard.overview(numberOf(query['since'])));
    if (action === 'settings') return json(this.dashboard.settings());
    const limit = Math.min(MAX_ROWS, Math.max(1, numberOf(query['limit'], MAX_ROWS)));
    if (action === 'connections') return this.connections(query, limit);
    return problem(404, 'Not found.');
  }

  /** Of this process, or of the one that `node` names. */
  private async connections(query: DashboardRequest['query'], limit: number): Promise<Answer> {
    const [filter, cursor] = [textOf(query['filter']).slice(0, 200), numberOf(query['cursor'])];
    const node = textOf(query['node']);
    if (node === '' || node === this.runtime.others?.id) return json(this.dashboard.connections(filter, cursor, limit));
    const page = await this.dashboard.connectionsOf(node, filter, cursor, limit);
    return page === undefined ? problem(502, 'This process does not answer.') : json(page);
  }

  private async act(
    action: string,
    { query }: DashboardRequest,
    { address: { text: ip } }: RequestFacts,
  ): Promise<Answer> {
    // protection: dashboard: read-only
    if (this.options.readonly !== false) return problem(403, 'The dashboard is read-only.');
    // end protection
    try {
      if (action === 'disconnect') return await this.disconnect(textOf(query['id']), ip);
      if (action === 'ban') return this.ban(query, ip);
      if (action === 'unban') return this.unban(query, ip);
      if (action === 'drain') return this.drain(ip);
    } catch (error) {
      if (error instanceof RangeError) return problem(400, error.message.slice(0, 300));
      throw error;
    }
    return problem(404, 'There is no such action.');
  }

  private async disconnect(id: string, ip: string): Promise<Answer> {
    this.audit({ action: 'disconnect', ip, target: id });
    return json({ disconnected: await this.broadcaster.disconnectSocket(id, 1008, 'disconnected by an operator') });
  }

  private ban(query: DashboardRequest['query'], ip: string): Answer {
    const target = targetOf(query);
    const ban = this.bans.ban(target, { for: textOf(query['for']) || '15m', reason: textOf(query['reason']) });
    this.audit({ action: 'ban', ip, target: ban.id });
    return json(ban);
  }

  private unban(query: DashboardRequest['query'], ip: string): Answer {
    const target = targetOf(query);
    const done = this.bans.unban(target);
    this.audit({ action: 'unban', ip, target: Object.values(target)[0] as string });
    return json({ unbanned: done });
  }

  private drain(ip: string): Answer {
    this.audit({ action: 'drain', ip, target: undefined });
    void this.runtime.drain();
    return json({ draining: true });
  }

  private login(request: DashboardRequest, facts: RequestFacts): Answer {
    const { address } = facts;
    if (this.sessions === undefined) return problem(404, "The application's guards decide who may see the dashboard.");
    const now = Date.now();
    const wait = this.logins.waitOf(address, now);
    // protection: dashboard: failed logins are limited
    if (wait > 0) return problem(429, `Too many failed logins. Try again in ${wait} s.`, { 'Retry-After': `${wait}` });
    // end protection
    const token = /^Bearer (.+)$/.exec(String(request.headers['authorization'] ?? ''))?.[1];
    // protection: dashboard: the token is asked for
    if (!this.sessions.isToken(token)) {
      this.logins.failed(address, now);
      this.audit({ action: 'login-failed', ip: address.text, target: undefined });
      return problem(401, 'The token is wrong.');
    }
    // end protection
    this.audit({ action: 'login', ip: address.text, target: undefined });
    return json({ ok: true }, 200, { 'Set-Cookie': cookie(facts, this.sessions.issue(now), SESSION_TIME / 1000) });
  }

  private logout(facts: RequestFacts): Answer {
    this.audit({ action: 'logout', ip: facts.address.text, target: undefined });
    return json({ ok: true }, 200, { 'Set-Cookie': cookie(facts, '', 0) });
  }

  private isLoggedIn({ headers }: DashboardRequest, facts: RequestFacts): boolean {
    // If there are guards, they have already decided.
    if (this.sessions === undefined) return true;
    return this.sessions.isLoggedIn(textOf(headers['cookie']), cookieName(facts), Date.now());
  }

  private sessionsOf({ token, guards }: SecureWsDashboardOptions): DashboardSessions | undefined {
    if (guards !== undefined && guards.length > 0) return undefined;
    const secret = token ?? this.runtime.settings.dashboard.token;
    if (secret === undefined)
      throw new Error(
        'SecureWsDashboardModule needs a token of at least 32 characters (token, or WEBSOCKETS_DASHBOARD_TOKEN), or guards',
      );
    // protection: dashboard: no short token
    if (secret.length < MIN_TOKEN_LENGTH)
      throw new Error(`The dashboard's token has ${secret.length} characters; at least ${MIN_TOKEN_LENGTH} are needed`);
    // end protection
    return new DashboardSessions(secret);
  }

  private audit(event: AuditEvent): void {
    const target = event.target === undefined ? '' : ` ${event.target}`;
    this.logger.log(line(`${event.action}${target} by ${event.ip}`));
    publishAudit(event);
  }
}

function sourceOf(runtime: SecureWsRuntime, stats: SecureWsStats): DashboardSource<Connection> {
  return {
    bans: runtime.bans,
    stats: () => stats.snapshot(),
    settings: () => stats.settings(),
    connections: () => runtime.server.connections,
    row: rowOf,
    nodes: () => nodesOf(stats),
    ask: async (question, node) => (await runtime.others?.view({ ...question }, node)) ?? new Map(),
    now: () => runtime.server.clock.now(),
  };
}

/** The descriptions that other processes publish, as far as they are valid. */
function nodesOf(stats: SecureWsStats): Omit<NodeRow, 'brief'>[] {
  const state = stats.cluster?.();
  return (state?.nodes ?? []).map(({ id, about }) => {
    const said = parsed(about);
    const { host, pid, connections } = said;
    const place = typeof host === 'string' && typeof pid === 'number' ? `${host.slice(0, 64)} ${pid}` : id;
    return {
      id,
      name: place,
      self: id === state?.id,
      connections: typeof connections === 'number' ? connections : undefined,
    };
  });
}

function parsed(about: string): Record<string, unknown> {
  try {
    return (JSON.parse(about) as Record<string, unknown> | null) ?? {};
  } catch {
    return {};
  }
}

/** Reads the state of a connection without creating its reader or writer. */
function rowOf(connection: Connection, now: number): ConnectionRow {
  const { peer, context, socket, openedAt, reader, writer, deflate } = connection;
  return {
    id: socket.id,
    address: peer.ip,
    user: peer.userKey,
    gateway: context.path,
    age: now - openedAt,
    latency: socket.latency,
    messagesIn: reader?.messages ?? 0,
    messagesOut: writer?.messages ?? 0,
    bytesIn: reader?.bytes ?? 0,
    bytesOut: writer?.bytes ?? 0,
    queued: connection.held,
    compressed: deflate !== undefined,
  };
}

const lastSegment = (path: string): string => encodeURIComponent(/([^/]*)\/*$/.exec(path)![1]!);

/** A query may also contain lists and, with Express's extended parser, objects of any shape. */
const numberOf = (value: unknown, fallback = 0): number => {
  const number = typeof value === 'string' ? Number(value) : fallback;
  return Number.isFinite(number) ? number : fallback;
};
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function targetOf(query: DashboardRequest['query']): { address: string } | { cidr: string } | { userKey: string } {
  const userKey = textOf(query['user']);
  if (userKey !== '') return { userKey };
  const address = textOf(query['address']);
  return address.includes('/') ? { cidr: address } : { address };
}

/** The `__Host-` prefix needs `Secure`, which browsers only accept over TLS. */
const cookieName = ({ secure }: RequestFacts): string =>
  secure ? '__Host-nest-secure-ws-dashboard' : 'nest-secure-ws-dashboard';

const cookie = (facts: RequestFacts, value: string, maxAge: number): string =>
  `${cookieName(facts)}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Strict${facts.secure ? '; Secure' : ''}`;

/**
 * A page for operators: connections, refusals and their reasons, memory held for peers, and, with `readonly: false`,
 * the means to end connections and ban addresses. Needs `SecureWsModule`, and a token or guards.
 *
 * @example
 * imports: [SecureWsModule.forRoot(), SecureWsDashboardModule.forRoot({ path: '/ws-admin' })]
 */
@Module({})
export class SecureWsDashboardModule {
  static forRoot(options: SecureWsDashboardOptions = {}): DynamicModule {
    return {
      module: SecureWsDashboardModule,
      providers: [SecureWsDashboard, { provide: 'nest-secure-ws:dashboard-options', useValue: options }],
      controllers: [controllerAt(options.path ?? DEFAULT_PATH, options.guards ?? [])],
    };
  }
}

function controllerAt(path: string, guards: readonly (Type<CanActivate> | CanActivate)[]): Type<unknown> {
  @Controller(path)
  @UseGuards(...guards)
  class SecureWsDashboardController {
    constructor(
      @Inject(SecureWsDashboard) private readonly dashboard: SecureWsDashboard,
      @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    ) {}

    @Get()
    page(@Req() request: DashboardRequest, @Res() response: unknown): Promise<void> {
      return this.reply('', request, response);
    }

    @Get(':action')
    read(@Req() request: DashboardRequest & { params: { action: string } }, @Res() response: unknown): Promise<void> {
      return this.reply(request.params.action, request, response);
    }

    @Post(':action')
    act(@Req() request: DashboardRequest & { params: { action: string } }, @Res() response: unknown): Promise<void> {
      return this.reply(request.params.action, request, response);
    }

    private async reply(action: string, request: DashboardRequest, response: unknown): Promise<void> {
      const { httpAdapter } = this.host;
      const { status, headers, body } = await this.dashboard.answer(action, request);
      // protection: dashboard: headers of security
      for (const [name, value] of Object.entries({ ...SECURITY_HEADERS, ...headers }))
        httpAdapter.setHeader(response, name, value);
      // end protection
      httpAdapter.reply(response, body, status);
    }
  }
  return SecureWsDashboardController;
}
