import { describe, expect, it } from '@jest/globals';
import { type Handle, handlesProblem, type Request } from '../../../lib/compat/node-handles.js';
import { HandleTransport } from '../../../lib/net/handle-transport.js';

/** A handle that records what is done to it; `queued`: bytes that its kernel has not taken. */
class FakeHandle {
  onread: Handle['onread'];
  reading = false;
  readonly calls: string[] = [];
  shutdownRequest: Request | undefined;

  constructor(readonly writeQueueSize: number | undefined) {}

  readStart(): number {
    this.calls.push('read');
    return 0;
  }

  writeLatin1String(): number {
    this.calls.push('write');
    return 0;
  }

  shutdown(request: Request): number {
    this.calls.push('shutdown');
    this.shutdownRequest = request;
    return 0;
  }
}

/** A transport that is being read, and the events that its reader got. */
function reading(writeQueueSize: number | undefined) {
  expect(handlesProblem()).toBeUndefined();
  const handle = new FakeHandle(writeQueueSize);
  const events: string[] = [];
  const transport = new HandleTransport(handle as unknown as Handle, {
    count: () => undefined,
    proceed: () => undefined,
  });
  transport.setReader({
    onChunk: () => events.push('chunk'),
    onEnd: () => events.push('end'),
    onClose: () => events.push('close'),
  });
  transport.read();
  const peerEnds = () => handle.onread!.call(handle as unknown as Handle, undefined);
  const written = () => handle.shutdownRequest!.oncomplete!(0);
  return { handle, transport, events, peerEnds, written };
}

describe('the transport on a handle', () => {
  it('is read once, whoever takes it over, and again after a pause', () => {
    const { handle, transport } = reading(0);
    transport.read();
    expect(handle.calls).toEqual(['read']);
    handle.reading = false;
    transport.resume();
    expect(handle.calls).toEqual(['read', 'read']);
  });

  it('waits only for the end of the peer if the kernel has taken the whole text', () => {
    const { handle, transport, events, peerEnds } = reading(0);
    expect(transport.end('refused')).toBe(true);
    expect(handle.calls).toEqual(['read', 'write', 'shutdown']);
    expect(typeof handle.shutdownRequest!.oncomplete).not.toBe('function');
    expect(events).toEqual([]);
    peerEnds();
    expect(events).toEqual(['close']);
  });

  it.each([1, undefined])('waits for the rest of the text, too: %p bytes are queued', (queued) => {
    const first = reading(queued);
    expect(first.transport.end('refused')).toBe(true);
    first.peerEnds();
    expect(first.events).toEqual([]);
    first.written();
    expect(first.events).toEqual(['close']);

    const second = reading(queued);
    second.transport.end('refused');
    second.written();
    expect(second.events).toEqual([]);
    second.peerEnds();
    expect(second.events).toEqual(['close']);
  });

  it('is closed after the text if the peer has half-closed before', () => {
    const { transport, events, peerEnds, written } = reading(0);
    peerEnds();
    expect(events).toEqual(['end']);
    transport.end('refused');
    written();
    expect(events).toEqual(['end', 'close']);
  });
});
