/** The subprotocol for the 101: what a guard chose, else the first of ours that was offered (RFC 6455, section 4.2.2, item 5.5). */
export function chooseSubprotocol(
  chosen: string | undefined,
  ours: readonly string[],
  offered: readonly string[],
): string | undefined {
  return chosen ?? ours.find((protocol) => offered.includes(protocol));
}
