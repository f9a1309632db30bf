/**
 * The handshake: who a connection is, by its token or URL, by `hello`, or by the `sender` of its first frame, and where its
 * device resumes.
 */

import { type Attached, BASE_DEVICE, type Devices, type LastSeen, type Markers } from "../broker.ts";
import { type ClientFrame, type ClientFrameOf, type Limits, PROTOCOL_VERSION, Refusal } from "../protocol.ts";
import { toReceipt } from "./encoding.ts";
import { type Meter, type SlowWatch, timed } from "./meter.ts";
import type { NodeLocal } from "./node_local.ts";
import { SendOrder, type SendOrderHost } from "./send_order.ts";
import type { Settled } from "./level.ts";
import type { Session } from "./session.ts";

/** Milliseconds to say who one is: a person pasting a frame makes it, a socket that only holds a place does not. */
export const HELLO_TIMEOUT_MS = 10_000;
/** Milliseconds a connection named in its URL has for `hello`, before it is taken for the base level. */
export const HELLO_GRACE_MS = 250;
/**
 * Messages of the past that a new device has for nothing, and those that count as a frame each time beyond it: finding ten
 * thousand in fifty conversations takes 20 ms.
 */
const LAST_PER_FRAME = 500;
/**
 * Receipts of a `hello` that count as a frame against the rate: they take some 10 ms. Who has more than the burst lets through gets
 * them at the rate: a user who wrote in 200 groups of 1,024 is due 400,000, which would keep the worker busy for a second each time.
 */
const RECEIPTS_PER_FRAME = 4_000;

/** Needs of the handshake, which the hub meets. */
export interface HandshakeHost extends SendOrderHost, Pick<NodeLocal, "consumeRate"> {
  readonly broker: Devices & Markers & LastSeen & { readonly epoch: string };
  /** Limits as `welcome` says them. */
  readonly limits: Limits;
  /** Counts what happens. */
  readonly meter: Meter;
  /** Told how long devices took to be found. */
  readonly slow: SlowWatch | undefined;
  /** Milliseconds; see {@linkcode HELLO_TIMEOUT_MS}. */
  readonly helloTimeoutMs: number;
  /** Milliseconds; see {@linkcode HELLO_GRACE_MS}. */
  readonly helloGraceMs: number;
  /** Claims a settled session's device among all nodes; resolves with the number of the user's other devices elsewhere. */
  claim(session: Session): Promise<number>;
  /** Puts a settled session under its user's name. False where it was closed instead, since there is no room. */
  register(session: Session, elsewhere: number): boolean;
  /** Takes a session out of the registry, to come back under another device. */
  withdraw(session: Session): void;
  /** Tells the operator of a failure that no peer can be blamed for. */
  report(error: unknown, where: string): void;
}

/** Settles who connections are. */
export class Handshake {
  readonly #host: HandshakeHost;
  #nextOrigin = 0;

  constructor(host: HandshakeHost) {
    this.#host = host;
  }

  /** Begins with a new connection: starts the time that it has to say who it is, or at which level it speaks. */
  begin(session: Session): void {
    const { helloGraceMs, helloTimeoutMs } = this.#host;
    if (session.user === "") {
      const words = "Say who you are within the first seconds: send hello, or a message";
      return session.startTimer(helloTimeoutMs, () => session.close("nameless", words));
    }
    this.#makeKnown(session.user).catch((error) => this.#host.report(error, "attach"));
    session.startTimer(helloGraceMs, () => this.#startBase(session, session.user));
  }

  /**
   * Makes a user known, so that what is sent to them while they settle their level waits for them. Who was never here gets no
   * device by it: their first one is given what waits for them, whatever it asks for. Others may have a device that gets it
   * sooner, and the base level begins here all the same.
   */
  async #makeKnown(user: string): Promise<void> {
    const { broker } = this.#host;
    const [, [seen]] = await Promise.all([broker.seen([user], 0), broker.lastSeen([user])]);
    if (seen) await broker.attach(user, BASE_DEVICE);
  }

  /** Settles name and level by a connection's first frame. True when the frame goes on to be handled now. */
  decide(session: Session, frame: ClientFrame, text: string): boolean {
    if (frame.type === "hello") return true;
    if (frame.type === undefined) {
      this.#startBase(session, session.user || frame.sender, text);
    } else if (session.user === "") {
      session.refuse(Refusal.of(frame, "name_required", "Say who you are first: send hello, or a message"));
    } else {
      session.refuse(Refusal.of(frame, "hello_required", `Send hello before frames of type "${frame.type}"`));
    }
    return false;
  }

  /** Makes a connection a device of the extended level. */
  hello(session: Session, frame: ClientFrameOf<"hello">): void {
    if (session.level === "extended") return session.refuse(new Refusal("bad_frame", "hello was said already"));
    const user = session.user || frame.name;
    if (user === undefined) {
      return session.refuse(
        new Refusal("name_required", 'Say who you are: hello needs a "name" where no token says it'),
      );
    }
    if (frame.name !== undefined && frame.name !== user) {
      return session.refuse(new Refusal("forbidden", `You are "${user}" and cannot be "${frame.name}"`));
    }
    if (!this.#consume(session, user, Math.ceil((frame.last ?? 0) / LAST_PER_FRAME) - 1)) return;
    if (session.level === "base") this.#host.withdraw(session);
    const device = frame.device ?? `d-${crypto.randomUUID().slice(0, 8)}`;
    const has = (cap: string) => frame.caps?.includes(cap) ?? false;
    const order = has("ordered") ? new SendOrder(session, this.#host) : undefined;
    session.settle({ user, level: "extended", device, origin: device, batch: has("batch"), order });
    this.#start(session, frame);
  }

  /** Counts a costly hello against the user's rate; where it is over, the connection stays as it is and may say it again. */
  #consume(session: Session, user: string, cost: number): boolean {
    const wait = cost > 0 ? this.#host.consumeRate(user, cost) : 0;
    if (wait === 0) return true;
    if (wait === Infinity) {
      session.close("flood", "The rate limit was ignored for long");
      return false;
    }
    const slow = new Refusal("rate_limited", "Too many messages of the past in a short time; say hello again later");
    slow.retryAfterMs = Math.ceil(wait);
    session.answer(slow);
    // It has said that it is no base connection.
    if (session.level === "undecided" && session.user !== "") {
      session.startTimer(this.#host.helloTimeoutMs, () => this.#startBase(session, session.user));
    }
    return false;
  }

  #startBase(session: Session, user: string, first?: string): void {
    const base: Settled = {
      user,
      level: "base",
      device: BASE_DEVICE,
      origin: `${BASE_DEVICE}${++this.#nextOrigin}`,
      batch: false,
      order: undefined,
    };
    session.settle(base, first);
    this.#start(session, undefined);
  }

  #start(session: Session, hello: ClientFrameOf<"hello"> | undefined): void {
    this.#welcome(session, hello).catch((error) => {
      this.#host.report(error, "opening a mailbox");
      session.answer(new Refusal("unavailable", "The server could not open your mailbox now; connect again later"));
      session.close("overloaded", "The server could not open your mailbox now");
    });
  }

  async #welcome(session: Session, hello: ClientFrameOf<"hello"> | undefined): Promise<void> {
    const { broker, limits, slow } = this.#host;
    const resume = hello?.resume?.epoch === broker.epoch ? hello.resume.seq : undefined;
    const temporary = hello !== undefined && hello.device === undefined;
    const [attached, elsewhere] = await Promise.all([
      timed(slow, "hello", broker.attach(session.user, session.device, { last: hello?.last, temporary, resume })),
      this.#host.claim(session),
    ]);
    if (session.closed || !this.#host.register(session, elsewhere)) return;
    const { position, recovered } = whereToResume(attached, broker.epoch, hello?.resume);
    if (hello) {
      this.#host.meter.welcomed(recovered);
      session.send({
        type: "welcome",
        v: PROTOCOL_VERSION,
        user: session.user,
        device: session.device,
        caps: [...(session.batch ? ["batch"] : []), ...(session.order ? ["ordered"] : [])],
        epoch: broker.epoch,
        seq: attached.head,
        recovered,
        limits,
      });
      await this.#sendMarkers(session, recovered && hello.resume ? position : 0);
      if (session.closed) return;
    }
    const caughtUp = session.catchUp(position);
    session.release(hello?.resume !== undefined && hello.resume.epoch !== broker.epoch);
    await caughtUp;
  }

  /** Sends the markers that moved since a position, as fast as the connection takes them. */
  async #sendMarkers(session: Session, since: number): Promise<void> {
    let count = 0;
    for await (const markers of this.#host.broker.markers(session.user, since)) {
      for (const marker of markers) {
        if (session.congested) await session.drained();
        if (session.closed) return;
        session.send(toReceipt(marker, marker.ts));
      }
      for (count += markers.length; count >= RECEIPTS_PER_FRAME; count -= RECEIPTS_PER_FRAME) await this.#waitForRate(session);
      if (session.closed) return;
    }
  }

  /** Waits until the user's rate allows another frame, and counts one; closes a session whose user ignores the rate. */
  async #waitForRate(session: Session): Promise<void> {
    for (let wait; !session.closed && (wait = this.#host.consumeRate(session.user, 1)) > 0;) {
      if (wait === Infinity) return session.close("flood", "The rate limit was ignored for long");
      await session.pause(wait);
    }
  }
}

/**
 * Returns the position after which a device goes on, and whether nothing was missed before it. Below the horizon something is
 * gone, but not all: what is still there follows.
 */
function whereToResume(
  { position, horizon, head, isNew, isLost }: Attached,
  epoch: string,
  resume: { epoch: string; seq: number } | undefined,
): { position: number; recovered: boolean } {
  if (!resume) return { position, recovered: !isNew && position >= horizon };
  const isKnown = resume.epoch === epoch && resume.seq >= horizon && resume.seq <= head && !isLost;
  return isKnown ? { position: resume.seq, recovered: true } : { position, recovered: false };
}
