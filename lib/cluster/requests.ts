/** Questions that wait for answers at once; beyond it only this process answers. */
const MOST_WAITING = 1000;

interface Question {
  /** Processes that have not answered. */
  readonly missing: Set<string>;
  hear(answer: unknown): boolean;
  end(): void;
}

/** Questions to all other processes, each answered with what came in time. */
export class Requests {
  readonly #questions = new Map<string, Question>();
  #next = 0;

  constructor(
    /** Milliseconds. */
    private readonly timeout: number,
    /** Sends a question; false: nobody will hear it. */
    private readonly send: (id: string, kind: string, data: unknown) => Promise<boolean>,
  ) {}

  get size(): number {
    return this.#questions.size;
  }

  /**
   * Asks `others`. Resolves to the answers when all of them have answered, when `isEnough` says so of an answer, or
   * when the time is over.
   */
  ask(
    kind: string,
    data: unknown,
    others: readonly string[],
    isEnough: (answer: unknown) => boolean = () => false,
  ): Promise<unknown[]> {
    if (others.length === 0 || this.#questions.size >= MOST_WAITING) return Promise.resolve([]);
    const id = (this.#next++).toString(36);
    return new Promise((resolve) => {
      const answers: unknown[] = [];
      const end = (): void => {
        clearTimeout(timer);
        this.#questions.delete(id);
        resolve(answers);
      };
      const timer = setTimeout(() => setImmediate(end), this.timeout);
      const hear = (answer: unknown): boolean => {
        answers.push(answer);
        return isEnough(answer);
      };
      this.#questions.set(id, { missing: new Set(others), hear, end });
      void this.send(id, kind, data).then((isSent) => {
        if (!isSent) end();
      });
    });
  }

  /** An answer has come; a second one of the same process counts for nothing. */
  answered(id: string, from: string, answer: unknown): void {
    const question = this.#questions.get(id);
    // protection: cluster: a process answers once
    if (!question?.missing.delete(from)) return;
    // end protection
    if (question.hear(answer) || question.missing.size === 0) question.end();
  }

  /** Nobody will answer any more. */
  close(): void {
    for (const { end } of [...this.#questions.values()]) end();
  }
}
