import { MAX_TICKETS_PER_OWNER, type TicketStore } from '../guards/tickets.js';
import type { ClusterNode } from './node.js';

/** Users whose last tickets are remembered. */
const MAX_OWNERS = 4096;

/** Tickets that are issued in one process and can be used once, in any process. */
export class ClusterTicketStore implements TicketStore {
  /** Keys of tickets that this process has issued, by user, oldest first; the user of the newest ticket is the last. */
  private readonly issued = new Map<string, string[]>();

  constructor(private readonly node: ClusterNode) {}

  async put(key: string, text: string, ttl: number, owner: string | undefined): Promise<void> {
    // protection: tickets of a user are bounded in a cluster
    if (owner !== undefined) this.crowdOut(owner, key);
    // end protection
    if (!(await this.node.put(`k:${key}`, text, ttl)))
      throw new Error('the ticket could not be kept: the cluster does not answer');
  }

  async take(key: string): Promise<string | undefined> {
    const text = await this.node.take(`k:${key}`);
    if (text === undefined) throw new Error('the cluster does not answer');
    return text ?? undefined;
  }

  /** The newest tickets of a user count. One that was used or has expired is deleted to no effect. */
  private crowdOut(owner: string, key: string): void {
    const keys = this.issued.get(owner) ?? [];
    this.issued.delete(owner);
    this.issued.set(owner, keys);
    if (keys.push(key) > MAX_TICKETS_PER_OWNER) void this.node.take(`k:${keys.shift()}`);
    if (this.issued.size <= MAX_OWNERS) return;
    const [first] = this.issued.keys();
    this.issued.delete(first!);
  }
}
