// SPDX-License-Identifier: Apache-2.0
// The newest input wins: what waits is replaced by what comes later, and an answer never follows a newer one.

/** @template Input, Output */
export class Newest {
  /** @type {{input: Input} | null} */ #waiting = null;
  #active = 0;
  #started = 0;
  #shown = 0;

  /**
   * @param {object} options
   * @param {(input: Input) => Promise<Output>} options.run
   * @param {(output: Output) => void} options.show Gets answers in order; one that a newer one overtook is dropped.
   * @param {(error: unknown) => void} options.fail
   * @param {number} options.limit Inputs that are run at a time.
   */
  constructor({ run, show, fail, limit }) {
    this.run = run;
    this.show = show;
    this.fail = fail;
    this.limit = limit;
  }

  /** Run an input now, or after a run has ended if nothing newer is offered until then. @param {Input} input */
  offer(input) {
    this.#waiting = { input };
    this.#next();
  }

  /** Drop what waits and what is under way. */
  clear() {
    this.#waiting = null;
    this.#shown = this.#started;
  }

  #next() {
    while (this.#waiting && this.#active < this.limit) {
      const { input } = this.#waiting;
      this.#waiting = null;
      this.#active++;
      this.#follow(input, ++this.#started);
    }
  }

  /** @param {Input} input @param {number} serial */
  async #follow(input, serial) {
    try {
      const output = await this.run(input);
      if (serial > this.#shown) {
        this.#shown = serial;
        this.show(output);
      }
    } catch (error) {
      if (serial > this.#shown) this.fail(error);
    } finally {
      this.#active--;
      this.#next();
    }
  }
}
