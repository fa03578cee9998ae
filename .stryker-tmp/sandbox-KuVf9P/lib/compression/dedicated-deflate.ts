// @ts-nocheck
import { deflateContextCost, inflateContextCost } from './context-budget.js';
import { DeflateContext } from './deflate-context.js';
import { InflateContext, type Inflated, Unfinished } from './inflate-context.js';
import { type DeflateDone, type DeflateProfile, type InflateDone, PeerDeflate } from './peer-deflate.js';
import { type CodecSettings, SYNC_INFLATE_BYTES } from './settings.js';
import { DEFLATE_WEIGHT, deflatesAtOnce } from './shared-codec.js';
import { spend } from './turn.js';
import { enqueue } from './zlib-jobs.js';
import { canStep } from './zlib-step.js';

/** Output buffer of a stream that lives as long as its connection. */
const CHUNK = 4 * 1024;

/** Whether the side that `isServer` names keeps its context from message to message. */
const takesOver = ({ agreement }: DeflateProfile, isServer: boolean): boolean =>
  isServer ? agreement.serverTakeover : agreement.clientTakeover;

/** Bytes that the contexts of one connection of this profile cost. */
export function contextCost(profile: DeflateProfile): number {
  const { isServer, outgoing, incomingBits } = profile;
  const sending = takesOver(profile, isServer) ? deflateContextCost(outgoing) : 0;
  const receiving = takesOver(profile, !isServer) ? inflateContextCost(incomingBits) : 0;
  return sending + receiving;
}

/**
 * A connection with contexts of its own, made when the first message needs them; a direction without takeover uses
 * the shared codec. After a message that ended in a final block the window starts anew, as it does in `ws`.
 */
export class DedicatedDeflate extends PeerDeflate {
  #inflater: InflateContext | undefined;
  #deflater: DeflateContext | undefined;
  readonly #release: () => void;

  /** `release` gives back what was taken from the budget; called once or more. */
  constructor(profile: DeflateProfile, release: () => void) {
    super(profile);
    this.#release = release;
  }

  override get broadcastBits(): number | undefined {
    return takesOver(this.profile, this.profile.isServer) ? undefined : super.broadcastBits;
  }

  override cleanup(): void {
    super.cleanup();
    this.#inflater?.close();
    this.#deflater?.close();
    this.#inflater = undefined;
    this.#deflater = undefined;
    this.#release();
  }

  protected override inflate(message: Buffer, limit: number, done: InflateDone): void {
    const { profile } = this;
    if (!takesOver(profile, !profile.isServer)) super.inflate(message, limit, done);
    else if (this.closed) done('corrupt', false);
    else this.#inflateWith(this.#usableInflater(profile.incomingBits), message, limit, done);
  }

  protected override deflate(data: Buffer, fin: boolean, done: DeflateDone): void {
    const { profile } = this;
    if (!takesOver(profile, profile.isServer)) super.deflate(data, fin, done);
    else if (this.closed) done(undefined);
    else this.#deflateWith(this.#usableDeflater(profile.outgoing), data, fin, done);
  }

  #inflateWith(context: InflateContext, message: Buffer, limit: number, done: InflateDone): void {
    const outcome = inflateSmall(context, message, limit);
    if (outcome instanceof Unfinished) inflateRest(this, context, outcome.rest, limit, (later) => done(later, true));
    else done(outcome, false);
  }

  #deflateWith(context: DeflateContext, data: Buffer, fin: boolean, done: DeflateDone): void {
    if (deflatesAtOnce(data.length)) done(deflateNow(context, data, fin));
    else deflateLater(this, context, data, fin, done);
  }

  #usableInflater(bits: number): InflateContext {
    if (this.#inflater?.spent) this.#inflater.close();
    if (this.#inflater === undefined || this.#inflater.spent) this.#inflater = new InflateContext(bits, CHUNK, true);
    return this.#inflater;
  }

  #usableDeflater(settings: CodecSettings): DeflateContext {
    if (this.#deflater === undefined || this.#deflater.broken) this.#deflater = new DeflateContext(settings, CHUNK);
    return this.#deflater;
  }
}

function inflateSmall(context: InflateContext, message: Buffer, limit: number): Inflated | Unfinished {
  if (message.length > SYNC_INFLATE_BYTES || !canStep()) return new Unfinished(message);
  const outcome = context.inflateSync(message, limit);
  spend(outcome instanceof Unfinished ? SYNC_INFLATE_BYTES : outcome.length);
  return outcome;
}

function deflateNow(context: DeflateContext, data: Buffer, fin: boolean): Buffer {
  spend(DEFLATE_WEIGHT * data.length);
  return context.deflateSync(data, fin);
}

function inflateRest(
  owner: object,
  context: InflateContext,
  rest: Buffer,
  limit: number,
  done: (outcome: Inflated) => void,
): void {
  enqueue(owner, (finished) =>
    context.inflate(rest, limit, (outcome) => {
      finished();
      done(outcome);
    }),
  );
}

function deflateLater(owner: object, context: DeflateContext, data: Buffer, fin: boolean, done: DeflateDone): void {
  enqueue(owner, (finished) => {
    // A context that was closed while it waited would take up its old work in stored blocks.
    if (context.broken) {
      finished();
      done(undefined);
      return;
    }
    context.deflate(data, fin, (compressed) => {
      finished();
      done(compressed);
    });
  });
}
