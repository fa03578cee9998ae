// @ts-nocheck
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

/** Rooms that one connection may be in. */
export const MAX_ROOMS = 100;
/** Characters of a room's name. */
export const MAX_ROOM_NAME = 128;

/** Who is in which room, of one gateway. A room is there while somebody is in it. */
export class Rooms {
  private readonly members = new Map<string, Set<SecureSocket>>();
  private readonly rooms = new Map<SecureSocket, Set<string>>();

  /** Throws a `RangeError` for a name that is none. */
  check(room: string): void {
    if (typeof room !== 'string' || room === '' || room.length > MAX_ROOM_NAME) {
      throw new RangeError(`the name of a room must have 1 to ${MAX_ROOM_NAME} characters`);
    }
  }

  /** Throws a `RangeError` for a name, or a number of rooms, that is too large. */
  join(socket: SecureSocket, room: string): void {
    this.check(room);
    let rooms = this.rooms.get(socket);
    if (rooms === undefined) this.rooms.set(socket, (rooms = new Set()));
    if (rooms.has(room)) return;
    if (rooms.size >= MAX_ROOMS) throw new RangeError(`a connection can be in at most ${MAX_ROOMS} rooms`);
    rooms.add(room);
    const members = this.members.get(room);
    if (members === undefined) this.members.set(room, new Set([socket]));
    else members.add(socket);
  }

  leave(socket: SecureSocket, room: string): void {
    const rooms = this.rooms.get(socket);
    if (!rooms?.delete(room)) return;
    if (rooms.size === 0) this.rooms.delete(socket);
    this.part(socket, room);
  }

  leaveAll(socket: SecureSocket): void {
    const rooms = this.rooms.get(socket);
    if (rooms === undefined) return;
    this.rooms.delete(socket);
    for (const room of rooms) this.part(socket, room);
  }

  of(socket: SecureSocket): ReadonlySet<string> {
    return this.rooms.get(socket) ?? NONE;
  }

  in(room: string): ReadonlySet<SecureSocket> {
    return this.members.get(room) ?? NOBODY;
  }

  private part(socket: SecureSocket, room: string): void {
    const members = this.members.get(room);
    members?.delete(socket);
    if (members?.size === 0) this.members.delete(room);
  }
}

const NONE: ReadonlySet<string> = new Set();
const NOBODY: ReadonlySet<SecureSocket> = new Set();
