/** A guard that runs before the built-in ones of stages 5 and 6. Made by `beforeBuiltIn()`. */
export class EarlyGuard<G = unknown> {
  constructor(readonly guard: G) {}
}

/**
 * Puts a guard of any form before TLS, host, origin, addresses and capacity (see `BUILT_IN_GUARDS`), instead of behind
 * them: `forRoot({ guards: [beforeBuiltIn(AuditGuard), TokenGuard] })`. The attempt was charged to its address's rate,
 * its path has a gateway, and it holds no connection slot yet: keep it cheap.
 */
export const beforeBuiltIn = <G>(guard: G): EarlyGuard<G> => new EarlyGuard(guard);
