/** A signal that aborts when one of several does, and lets go of them again: `AbortSignal.any` would stay registered. */
export class LinkedSignal {
  private readonly controller = new AbortController();
  private readonly sources: readonly AbortSignal[];

  constructor(...sources: (AbortSignal | undefined)[]) {
    this.sources = sources.filter((source) => source !== undefined);
    for (const source of this.sources) {
      if (source.aborted) this.controller.abort(source.reason);
      else source.addEventListener('abort', this.pass);
    }
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  release(): void {
    for (const source of this.sources) source.removeEventListener('abort', this.pass);
  }

  private readonly pass = (event: Event): void => {
    this.controller.abort((event.target as AbortSignal).reason);
  };
}
