import type { AccessRules } from '../admission/access-rules.js';
import type { GatewayType } from '../admission/attempt.js';
import { GatewayCapacity } from '../admission/capacity.js';
import type { AdmissionGuardFunction } from '../admission/guard.js';
import { type AllowedOrigins, parseAllowedOrigins } from '../admission/origin.js';
import { UserCaps } from '../admission/users.js';
import type { GatewaySettings } from '../config/settings.js';
import type { UpgradeContext, UpgradeTarget } from '../handshake/upgrade-context.js';
import { compiled } from '../net/address-list.js';
import type { ServerContext } from './server-context.js';

/** The target of a path: its rules for admission, and its slots. */
export abstract class PathTarget implements UpgradeTarget {
  readonly capacity: GatewayCapacity;
  readonly access: AccessRules;
  readonly users: UserCaps;
  /** Guards that run before stage 5. They are resolved before the port listens, like those of stage 7. */
  earlyGuards: readonly AdmissionGuardFunction[] = [];
  guards: readonly AdmissionGuardFunction[] = [];

  constructor(
    readonly context: ServerContext,
    readonly settings: GatewaySettings,
    /** The name of the target, the same in every process of a cluster. */
    id: string,
  ) {
    const { own, connections, proxy } = settings;
    this.capacity = new GatewayCapacity({ max: own.max, maxPerIp: own.maxPerIp }, id);
    this.users = new UserCaps(context.users, {
      own: own.maxPerUser,
      application: context.settings.connections.maxPerUser,
      onLimit: connections.onUserLimit,
    });
    this.access = {
      requireTls: proxy.requireTls,
      hosts: context.hosts,
      origins: origins(connections.allowedOrigins),
      addresses: context.addressRules,
    };
  }

  /** The class that guards can read. */
  abstract get gateway(): GatewayType;
  abstract readonly isForeign: boolean;
  abstract complete(upgrade: UpgradeContext, bytes: Buffer): boolean;

  /** A path, or a pattern of paths. */
  get path(): string {
    return this.settings.path;
  }

  get subprotocols(): readonly string[] {
    return this.settings.connections.subprotocols;
  }

  /** Milliseconds for all asynchronous guards of an attempt together. */
  get guardTimeout(): number {
    return this.settings.connections.guardTimeout;
  }
}

const origins = (entries: readonly string[] | undefined): AllowedOrigins | undefined =>
  entries && compiled(parseAllowedOrigins(entries));
