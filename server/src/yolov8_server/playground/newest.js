// SPDX-License-Identifier: Apache-2.0
// The newest input wins: what waits is replaced by what comes later, and an answer never follows a newer one.

/** @template Input, Prepared, Output */
export class Newest {
  /** @type {{input: Input} | null} */ #waiting = null;
  /** @type {{prepared: Prepared} | null} */ #ready = null;
  #preparing = false;
  #turn = 0;
  #active = 0;
  #started = 0;
  #shown = 0;

  /**
   * @param {object} options
   * @param {(input: Input) => Promise<Prepared>} options.prepare Works on one input while others are run.
   * @param {(prepared: Prepared) => Promise<Output>} options.run
   * @param {(output: Output) => void} options.show Gets answers in order; one that a newer one overtook is dropped.
   * @param {(error: unknown) => void} options.fail
   * @param {number} options.limit Inputs that are run at a time.
   */
  constructor({ prepare, run, show, fail, limit }) {
    this.prepare = prepare;
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
    this.#waiting = this.#ready = null;
    this.#shown = this.#started;
    this.#turn++;
  }

  #next() {
    if (this.#ready && this.#active < this.limit) {
      const { prepared } = this.#ready;
      this.#ready = null;
      this.#active++;
      void this.#follow(prepared, ++this.#started);
    }
    if (this.#waiting && !this.#ready && !this.#preparing) {
      const { input } = this.#waiting;
      this.#waiting = null;
      void this.#make(input, this.#turn);
    }
  }

  /** @param {Input} input @param {number} turn */
  async #make(input, turn) {
    this.#preparing = true;
    try {
      const prepared = await this.prepare(input);
      if (turn === this.#turn) this.#ready = { prepared };
    } catch (error) {
      if (turn === this.#turn) this.fail(error);
    } finally {
      this.#preparing = false;
      this.#next();
    }
  }

  /** @param {Prepared} prepared @param {number} serial */
  async #follow(prepared, serial) {
    try {
      const output = await this.run(prepared);
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
