import type { Refusal } from '../http/refusal.js';

/** A connection that counts for a cap: of a gateway, or of another library. */
export interface UserConnection {
  /** The target for which it was admitted. */
  readonly context: object;
  end(code: number, reason: string): void;
}

/** `connections.maxPerUser` of a gateway and of the application. */
export interface UserLimits {
  readonly own: number | undefined;
  readonly application: number | undefined;
  readonly onLimit: 'refuse' | 'closeOldest';
}

/** The slot of a connection over all processes of a cluster, in addition to its slot in this process. */
export interface SharedSlot {
  /** Stage 8: counts the connection for its user. */
  takeUser(userKey: string, limits: UserLimits): Promise<Refusal | undefined>;
  opened(connection: UserConnection): void;
  moveUser(userKey: string | undefined, limits: UserLimits): void;
  /** Idempotent. */
  release(): void;
}
