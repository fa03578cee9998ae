import type { TicketStore } from '../guards/tickets.js';
import type { ClusterNode } from './node.js';

/** Tickets that are issued in one process and can be used once, in any process. */
export class ClusterTicketStore implements TicketStore {
  constructor(private readonly node: ClusterNode) {}

  async put(key: string, text: string, ttl: number): Promise<void> {
    if (!(await this.node.put(`k:${key}`, text, ttl)))
      throw new Error('the ticket could not be kept: the cluster does not answer');
  }

  async take(key: string): Promise<string | undefined> {
    const text = await this.node.take(`k:${key}`);
    if (text === undefined) throw new Error('the cluster does not answer');
    return text ?? undefined;
  }
}
