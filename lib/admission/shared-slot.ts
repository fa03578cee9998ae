import type { Refusal } from '../http/refusal.js';

/** A connection that has a place in a cap: of a gateway, or of another library. */
export interface UserConnection {
  /** The target that it was admitted to. */
  readonly context: object;
  end(code: number, reason: string): void;
}

/** `connections.maxPerUser` of a gateway and of the application. */
export interface UserLimits {
  readonly own: number | undefined;
  readonly application: number | undefined;
  readonly onLimit: 'refuse' | 'closeOldest';
}

/** What a connection holds beside its slot in this process: over all processes of a cluster. */
export interface SharedSlot {
  /** Stage 8: one more connection of a user. */
  takeUser(userKey: string, limits: UserLimits): Promise<Refusal | undefined>;
  opened(connection: UserConnection): void;
  moveUser(userKey: string | undefined, limits: UserLimits): void;
  /** Idempotent. */
  release(): void;
}
