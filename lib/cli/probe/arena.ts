import { randomBytes } from 'node:crypto';
import { safeText } from '../terminal.js';
import type { Budget } from './budget.js';
import { accepted, held, NoWebSocket, type Outcome } from './outcome.js';
import { Peer, type Response } from './peer.js';
import type { Target } from './target.js';

export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface HeadOptions {
  readonly method?: string;
  readonly path?: string;
  readonly version?: string;
  /** Headers by name; an array makes several lines, `undefined` removes one of the usual lines. */
  readonly headers?: Headers;
  /** Additional lines after the headers, unchanged. */
  readonly raw?: string;
}

/** The format of the server's events: plain messages, or socket.io's. */
export type Dialect = 'plain' | 'socket.io';

export const describeResponse = ({ status, reason }: Response): string => safeText(`${status} ${reason}`.trim(), 60);

const MAX_WAIT = 12_000;
const WAITS = 3;

/** The context of an attack: the target, its message format, and facts that are already known about it. */
export class Arena {
  dialect: Dialect = 'plain';
  /** The server's answer to the message contains its data. */
  echoes = false;
  /** Replaces the target's path. */
  path: string;

  constructor(
    readonly target: Target,
    readonly budget: Budget,
    /** Headers that the user has given, such as a cookie. */
    private readonly own: Headers,
    /** A message that the application understands; `$DATA` is replaced by text. */
    private readonly template: string,
  ) {
    this.path = target.path;
  }

  /** The text of an upgrade request. */
  head({ method = 'GET', path = this.path, version = 'HTTP/1.1', headers = {}, raw = '' }: HeadOptions = {}): string {
    const all: Headers = {
      Host: this.target.authority,
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      'Sec-WebSocket-Version': '13',
      ...this.own,
      ...headers,
    };
    const lines = Object.entries(all).flatMap(([name, value]) =>
      value === undefined ? [] : [value].flat().map((each) => `${name}: ${each}\r\n`),
    );
    return `${method} ${path} ${version}\r\n${lines.join('')}${raw}\r\n`;
  }

  open(): Promise<Peer> {
    return Peer.open(this.target, this.budget);
  }

  /** Sends a complete request head and evaluates the answer: every answer except a 101 is a refusal. */
  async refuses(head: string, patience: number): Promise<Outcome> {
    const { peer, response } = await this.answer(head, patience);
    const open = peer.isOpen;
    peer.destroy();
    if (response === undefined)
      return open
        ? accepted(`no answer within ${patience / 1000} s, and still open`)
        : held('closed without an answer', true);
    return response.status === 101 ? accepted('101: the connection is open') : held(describeResponse(response));
  }

  /** Opens a WebSocket. Throws `NoWebSocket` with the server's answer if that fails. */
  async socket(headers: Headers = {}): Promise<Peer> {
    const { peer, response } = await this.answer(this.head({ headers }), 5000);
    if (response?.status !== 101) {
      peer.destroy();
      throw new NoWebSocket(
        response === undefined ? 'no answer to an upgrade' : `an upgrade gets ${describeResponse(response)}`,
      );
    }
    if (this.dialect === 'socket.io') await this.join(peer);
    return peer;
  }

  /** A message of the application with this text as its data. */
  message(data: string): string {
    if (this.dialect === 'socket.io') return `42${JSON.stringify(['echo', data])}`;
    return this.template.replaceAll('$DATA', JSON.stringify(data).slice(1, -1));
  }

  /** Sends one request, and repeats it if the attacks themselves have exceeded a rate limit. */
  private async answer(head: string, patience: number): Promise<{ peer: Peer; response: Response | undefined }> {
    for (let tries = 1; ; tries++) {
      const peer = await this.open();
      const response = await peer.ask(head, patience);
      const wait = Number(response?.headers.get('retry-after')) * 1000;
      const isLimited = (response?.status === 429 || response?.status === 503) && wait > 0 && wait <= MAX_WAIT;
      if (!isLimited || tries === WAITS || wait > this.budget.left) return { peer, response };
      peer.destroy();
      await this.pause(wait);
    }
  }

  /** Waits for a time, or until the run is over. */
  pause(time: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, Math.min(time, this.budget.left)));
  }

  /** Reads engine.io's open packet, then joins the namespace; from then on engine.io's pings are answered. */
  private async join(peer: Peer): Promise<void> {
    peer.onText = (text) => {
      if (text === '2') peer.text('3');
    };
    await peer.until(() => peer.messages > 0, 2000);
    peer.text('40');
    await peer.until(() => peer.messages > 1 || !peer.isOpen, 2000);
  }
}
