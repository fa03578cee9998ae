import type { SecureSocket } from '../connection/secure-socket.js';

/** Maximum number of rooms of one connection. */
export const MAX_ROOMS = 100;
/** Maximum length of a room's name in characters. */
export const MAX_ROOM_NAME = 128;

/** Is notified of the rooms that have members in this process. */
export interface RoomObserver {
  roomOpened(room: string): void;
  roomClosed(room: string): void;
}

/** The rooms of one gateway and their members. A room exists while it has members. */
export class Rooms {
  private observer: RoomObserver | undefined;
  private readonly members = new Map<string, Set<SecureSocket>>();
  private readonly rooms = new Map<SecureSocket, Set<string>>();

  /** Reports the existing rooms to a watcher, and from then on each room that is created or removed. */
  observe(observer: RoomObserver): void {
    this.observer = observer;
    for (const room of this.members.keys()) observer.roomOpened(room);
  }

  /** Throws a `RangeError` for an invalid name. */
  check(room: string): void {
    if (typeof room !== 'string' || room === '' || room.length > MAX_ROOM_NAME) {
      throw new RangeError(`the name of a room must have 1 to ${MAX_ROOM_NAME} characters`);
    }
  }

  /** Throws a `RangeError` for an invalid name, or if the connection is in too many rooms. */
  join(socket: SecureSocket, room: string): void {
    // protection: names of rooms are bounded
    this.check(room);
    // end protection
    let rooms = this.rooms.get(socket);
    if (rooms === undefined) this.rooms.set(socket, (rooms = new Set()));
    if (rooms.has(room)) return;
    // protection: rooms of a connection are bounded
    if (rooms.size >= MAX_ROOMS) throw new RangeError(`a connection can be in at most ${MAX_ROOMS} rooms`);
    // end protection
    rooms.add(room);
    const members = this.members.get(room);
    if (members !== undefined) {
      members.add(socket);
      return;
    }
    this.members.set(room, new Set([socket]));
    this.observer?.roomOpened(room);
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
    if (members?.size !== 0) return;
    this.members.delete(room);
    this.observer?.roomClosed(room);
  }
}

const NONE: ReadonlySet<string> = new Set();
const NOBODY: ReadonlySet<SecureSocket> = new Set();
