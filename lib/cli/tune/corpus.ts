import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { CannotRun } from '../terminal.js';

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_MESSAGES = 20_000;

/**
 * Reads the messages of a folder: every file is one message, in `.jsonl` and `.ndjson` files every line is one. At most
 * 64 MiB and 20 000 messages, in the order of the file names. Throws `CannotRun` if there are none.
 */
export function readCorpus(folder: string): Buffer[] {
  const messages: Buffer[] = [];
  let room = MAX_BYTES;
  for (const name of filesOf(folder)) {
    for (const message of messagesOf(join(folder, name), room + 1)) {
      if (message.length === 0) continue;
      room -= message.length;
      if (room < 0 || messages.length === MAX_MESSAGES) return messages;
      messages.push(message);
    }
  }
  if (messages.length === 0)
    throw new CannotRun(
      `${folder} contains no messages: put one message into each file, or one into each line of a .jsonl file`,
    );
  return messages;
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
      .map(({ name }) => name)
      .sort();
  } catch (error) {
    throw new CannotRun(`${folder} cannot be read: ${(error as Error).message}`);
  }
}

/** The messages in the first `most` bytes of a file. */
function messagesOf(path: string, most: number): Buffer[] {
  const bytes = readStart(path, most);
  if (!/\.(jsonl|ndjson)$/.test(path)) return [bytes];
  const lines = bytes
    .toString()
    .split(/\r?\n/)
    .map((line) => Buffer.from(line));
  // The last line may be cut.
  return bytes.length < most ? lines : lines.slice(0, -1);
}

/** The file may be larger than this process's memory. */
function readStart(path: string, most: number): Buffer {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    const bytes = Buffer.allocUnsafeSlow(Math.min(fstatSync(file).size, most));
    let end = 0;
    for (let read = -1; read !== 0 && end < bytes.length; end += read)
      read = readSync(file, bytes, end, bytes.length - end, null);
    return bytes.subarray(0, end);
  } catch (error) {
    throw new CannotRun(`${path} cannot be read: ${(error as Error).message}`);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** An even sample of the messages with at most the given number of bytes, so that one pass over them stays short. */
export function sampleOf(messages: readonly Buffer[], bytes: number): readonly Buffer[] {
  const total = sum(messages);
  if (total <= bytes) return messages;
  const every = total / bytes;
  const sample = messages.filter((_, at) => Math.floor(at / every) !== Math.floor((at - 1) / every));
  return sample.length === 0 ? messages.slice(0, 1) : sample;
}

export const sum = (messages: readonly Buffer[]): number => messages.reduce((total, { length }) => total + length, 0);

export function median(messages: readonly Buffer[]): number {
  const lengths = messages.map(({ length }) => length).sort((a, b) => a - b);
  return lengths[lengths.length >> 1] ?? 0;
}
