import { answer } from '../support/rpc.mjs';

/** The parent's configuration of this client. */
export const config = JSON.parse(process.argv[2] ?? '{}');

const TEXT = JSON.stringify({ event: 'echo', data: 'x'.repeat(38) });

/** Answers the runner: `echo` over `sockets`, each passed messages by `onMessage(socket, take)`. */
export function measured(sockets, onMessage) {
  answer({
    port: () => config.port,
    cpu() {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
    echo: ({ total, inFlight }) => echo(sockets, onMessage, Math.ceil(total / sockets.length), inFlight),
  });
}

async function echo(sockets, onMessage, quota, inFlight) {
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise((resolve) => {
          let sent = Math.min(inFlight, quota);
          let received = 0;
          onMessage(socket, () => {
            if (++received === quota) resolve();
            else if (sent < quota) {
              sent++;
              socket.send(TEXT);
            }
          });
          for (let at = 0; at < sent; at++) socket.send(TEXT);
        }),
    ),
  );
}
