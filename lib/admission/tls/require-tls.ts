export interface TlsFacts {
  /** TLS ends here. */
  readonly tls: boolean;
  /** What the nearest trusted proxy says of the client's side; `undefined` where nobody says anything. */
  readonly secure: boolean | undefined;
}

/** `proxy.requireTls`: the connection is TLS here, or said to be TLS by the nearest trusted proxy. */
export const isTlsSatisfied = (required: boolean, { tls, secure }: TlsFacts): boolean =>
  !required || tls || secure === true;
