import type { PeerDeflate } from '../compression/peer-deflate.js';
import { compressShared, sharePayload } from '../compression/shared-payload.js';
import { frameOf } from '../connection/frame-text.js';
import type { SecureSocket } from '../connection/secure-socket.js';

/** One text message for many peers: serialised once, framed once, compressed once for each window that was agreed. */
export class SharedMessage {
  private readonly payload: Buffer;
  private plain: Buffer | undefined;
  private readonly compressed = new Map<number, Buffer | undefined>();

  constructor(text: string) {
    this.payload = Buffer.from(text);
  }

  sendTo(socket: SecureSocket): void {
    if (socket.readyState !== 1) return;
    const { connection } = socket;
    connection.touch();
    const frame = connection.output.senderBytes === 0 ? this.frameFor(socket) : undefined;
    if (frame !== undefined) connection.output.sendFrame(this.payload, frame);
    else connection.output.send(this.payload, { binary: false }, undefined);
  }

  /** `undefined`: this peer's own codec has to compress it. */
  private frameFor({ deflate }: SecureSocket): Buffer | undefined {
    if (deflate === undefined || this.payload.length < deflate.profile.settings.threshold) {
      return (this.plain ??= frameOf(this.payload, false));
    }
    const bits = deflate.broadcastBits;
    return bits === undefined ? undefined : this.compressedFor(bits, deflate);
  }

  private compressedFor(bits: number, { profile }: PeerDeflate): Buffer | undefined {
    if (!this.compressed.has(bits)) {
      const payload = compressShared(this.payload, profile.outgoing);
      if (payload === undefined) sharePayload(this.payload);
      this.compressed.set(bits, payload && frameOf(payload, true));
    }
    return this.compressed.get(bits);
  }
}
