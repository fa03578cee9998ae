// @ts-nocheck
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** Who reads from a {@link Transport}. */
export interface TransportReader {
  /** @internal */ onChunk(chunk: Buffer): void;
  /** @internal The peer says no more. */ onFin(): void;
  /** @internal */ onGone(): void;
}

/** The connection under an opening: as little of it as there need be before the 101. */
export interface Transport {
  /** Where TLS is spoken over it. */
  readonly tls: TLSSocket | undefined;
  /** Tells `reader` of its end; of its bytes too, from `read()` on. */
  attend(reader: TransportReader): void;
  /** What comes from here on are the bytes of a head; through `tls`, where that has been set up over it. */
  read(tls?: TLSSocket): void;
  /** Reads no more. */
  pause(): void;
  /** Writes latin1 text, then half-closes; what comes is still read. False where nobody can be told any more. */
  conclude(text: string): boolean;
  /** Its socket, for whoever has it next: nobody hears of it here any more. `undefined` where it has gone. */
  release(): Socket | undefined;
  /** Ends it; nobody is told. */
  destroy(): void;
}
