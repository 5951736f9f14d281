/**
 * One live feed: a WebSocket that comes back by itself, with polling while it
 * cannot. Used by the queue page (my place), the seat map and the console.
 *
 *   connecting → live → (drop) reconnecting → live
 *                          └─ second failure in a row → polling, while the
 *                             socket is tried again now and then → live
 *   any → stopped: by stop(), or because `closed` said not to come back
 */
export type FeedState = 'connecting' | 'live' | 'reconnecting' | 'polling' | 'stopped';

export interface FeedOptions {
  /** Path of the WebSocket on this origin. */
  path: string;
  protocol?: string;
  /** Sent as the first text frame, for feeds that authenticate that way. */
  first?: () => string;
  message: (frame: unknown) => void;
  state?: (s: FeedState) => void;
  /** Fetches what the socket would have told; resolves to the milliseconds until the next poll. */
  poll: () => Promise<number>;
  /** Called with the close code; return true when the feed must not come back. */
  closed?: (code: number) => boolean | void;
}

/** Failures in a row after which the feed polls. */
export const failuresBeforePolling = 2;
const retryWhilePolling = 30_000;

/**
 * Milliseconds before try number `failures` (from 1): full jitter up to
 * 1 s, 2 s, 4 s, … 30 s, so that a crowd cut off at once does not come back at once.
 * Code 4000 (the server is being replaced) spreads everybody over five seconds.
 */
export function backoff(failures: number, code: number, random: () => number = Math.random): number {
  if (code === 4000) return 250 + random() * 4750;
  return 250 + random() * (Math.min(30_000, 1000 * 2 ** (failures - 1)) - 250);
}

export class Feed {
  state: FeedState = 'connecting';
  private socket: WebSocket | undefined;
  private failures = 0;
  private socketTimer: ReturnType<typeof setTimeout> | undefined;
  private pollTimer: ReturnType<typeof setTimeout> | undefined;
  private heard = 0;

  constructor(private readonly o: FeedOptions) {}

  start(): void {
    if (this.state === 'stopped') this.state = 'connecting';
    this.connect();
    addEventListener('online', this.wake);
    document.addEventListener('visibilitychange', this.wake);
  }

  stop(): void {
    this.set('stopped');
    removeEventListener('online', this.wake);
    document.removeEventListener('visibilitychange', this.wake);
    clearTimeout(this.socketTimer);
    clearTimeout(this.pollTimer);
    this.drop();
  }

  /**
   * Starts over with a new socket: the data has a gap, or the network changed. What may
   * happen to a crowd at the same moment comes back `after` some milliseconds.
   */
  restart(after = 0): void {
    if (this.state === 'stopped') return;
    clearTimeout(this.socketTimer);
    this.drop();
    if (this.state === 'live') this.set('reconnecting');
    if (after) this.socketTimer = setTimeout(() => this.connect(), after);
    else this.connect();
  }

  // A socket that slept with the device may be dead without knowing it.
  private readonly wake = (e: globalThis.Event): void => {
    if (document.visibilityState === 'hidden') return;
    if (e.type === 'online' || this.state !== 'live' || Date.now() - this.heard > 60_000) this.restart();
  };

  private set(s: FeedState): void {
    if (s === this.state) return;
    this.state = s;
    this.o.state?.(s);
  }

  private drop(): void {
    const s = this.socket;
    this.socket = undefined;
    s?.close();
  }

  private connect(): void {
    let s: WebSocket;
    try {
      s = new WebSocket(location.origin.replace(/^http/, 'ws') + this.o.path, this.o.protocol ? [this.o.protocol] : []);
    } catch {
      this.failed(1006);
      return;
    }
    this.socket = s;
    s.onopen = () => this.o.first && s.send(this.o.first());
    s.onmessage = (e: MessageEvent) => {
      if (s !== this.socket) return;
      this.failures = 0;
      this.heard = Date.now();
      clearTimeout(this.pollTimer);
      this.set('live');
      this.o.message(JSON.parse(e.data as string));
    };
    s.onclose = (e: CloseEvent) => {
      if (s !== this.socket) return;
      this.socket = undefined;
      if (this.o.closed?.(e.code)) this.stop();
      else if (this.state !== 'stopped') this.failed(e.code);
    };
  }

  private failed(code: number): void {
    this.failures++;
    const polling = this.failures >= failuresBeforePolling;
    if (!polling) this.set('reconnecting');
    else if (this.state !== 'polling') {
      this.set('polling');
      void this.poll();
    }
    clearTimeout(this.socketTimer);
    this.socketTimer = setTimeout(() => this.connect(), polling ? retryWhilePolling * (0.5 + Math.random()) : backoff(this.failures, code));
  }

  private async poll(): Promise<void> {
    let next = 5000;
    try {
      next = await this.o.poll();
    } catch {
      next = backoff(4, 0);
    }
    clearTimeout(this.pollTimer);
    if (this.state === 'polling') this.pollTimer = setTimeout(() => void this.poll(), next);
  }
}
