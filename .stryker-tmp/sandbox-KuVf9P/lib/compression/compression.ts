// @ts-nocheck
import type { ContextBudget } from './context-budget.js';
import { contextCost, DedicatedDeflate } from './dedicated-deflate.js';
import { negotiate } from './negotiate.js';
import { acceptResponse, offer, type ResponseError } from './offer.js';
import { type Agreement, type ExtensionOffer, headerValue } from './parameters.js';
import { type DeflateProfile, PeerDeflate } from './peer-deflate.js';
import type { CompressionMode, CompressionSettings } from './settings.js';

/** The client's side of one negotiation. */
export interface DeflateOffer {
  /** Value of `Sec-WebSocket-Extensions`; `undefined`: send none. */
  readonly header: string | undefined;
  /**
   * The server's elements of that header to what stands in the `WebSocket`'s extensions; `undefined` when it
   * declined. A string says why the handshake is invalid.
   */
  accept(response: readonly ExtensionOffer[]): PeerDeflate | ResponseError | undefined;
}

/** Compression of one gateway, or of one configuration of the outbound client. */
export class Compression {
  readonly #profiles = new Map<string, DeflateProfile>();

  /** `budget` is the application's; only `dedicated` mode takes from it. */
  constructor(
    readonly settings: CompressionSettings,
    readonly budget: ContextBudget,
    readonly isServer = true,
  ) {}

  /**
   * The server's side: what stands in the `WebSocket`'s extensions under `permessage-deflate`, or `undefined` where
   * nothing was agreed. Where contexts no longer fit the budget the connection gets `shared`. Whoever does not pass
   * the result on to a `WebSocket`, which does it when it closes, must call its `cleanup`.
   */
  accept(offers: readonly ExtensionOffer[]): PeerDeflate | undefined {
    const { mode } = this.settings;
    if (mode === 'off' || offers.length === 0) return undefined;
    return (mode === 'dedicated' ? this.#acceptDedicated(offers) : undefined) ?? this.#acceptShared(offers);
  }

  /** The client's side. Contexts fit the budget when they are offered; what is then agreed is kept to. */
  offer(): DeflateOffer {
    const mode = this.#modeToOffer();
    const settings = { mode, windowBits: this.settings.windowBits };
    return {
      header: offer(settings),
      accept: (response) => {
        const agreed = acceptResponse(response, settings);
        if (agreed === undefined || typeof agreed === 'string') return agreed;
        return mode === 'dedicated' ? this.#dedicated(this.#profile(agreed)) : new PeerDeflate(this.#profile(agreed));
      },
    };
  }

  #acceptShared(offers: readonly ExtensionOffer[]): PeerDeflate | undefined {
    const agreed = negotiate(offers, { mode: 'shared', windowBits: this.settings.windowBits });
    return agreed && new PeerDeflate(this.#profile(agreed));
  }

  #acceptDedicated(offers: readonly ExtensionOffer[]): PeerDeflate | undefined {
    const agreed = negotiate(offers, { mode: 'dedicated', windowBits: this.settings.windowBits });
    if (agreed === undefined) return undefined;
    const profile = this.#profile(agreed);
    return this.budget.fits(contextCost(profile)) ? this.#dedicated(profile) : undefined;
  }

  #dedicated(profile: DeflateProfile): PeerDeflate {
    return new DedicatedDeflate(profile, this.budget.take(contextCost(profile)));
  }

  #modeToOffer(): CompressionMode {
    const { mode } = this.settings;
    if (mode !== 'dedicated') return mode;
    const worst = { params: {}, serverBits: 15, clientBits: 15, serverTakeover: true, clientTakeover: true };
    return this.budget.fits(contextCost(this.#describe(worst))) ? 'dedicated' : 'shared';
  }

  /** One object for all connections that agreed on the same: a few dozen are possible. */
  #profile(agreement: Agreement): DeflateProfile {
    const key = headerValue(agreement.params);
    let profile = this.#profiles.get(key);
    if (profile === undefined) this.#profiles.set(key, (profile = this.#describe(agreement)));
    return profile;
  }

  #describe(agreement: Agreement): DeflateProfile {
    const { settings, isServer } = this;
    const { serverBits, clientBits } = agreement;
    const [ownBits, otherBits] = isServer ? [serverBits, clientBits] : [clientBits, serverBits];
    const { memLevel, level } = settings;
    const outgoing = { windowBits: Math.min(settings.windowBits, ownBits), memLevel, level };
    return Object.freeze({ agreement, isServer, settings, outgoing, incomingBits: otherBits });
  }
}
