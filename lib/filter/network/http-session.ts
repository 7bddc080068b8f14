import type { Connection } from '../../transport/connection.ts'

/** One downstream connection of an HTTP listener, whatever version it speaks. */
export interface HttpSession {
  readonly connection: Connection
  /** For the drain report and the admin page: `idle`, `tunnel`, or what it is busy with. */
  readonly activity: string
  /** About once a second: what has been idle too long goes. */
  sweep(nowMs: number): void
  /** Ends as soon as nothing is in progress; clients with a request in progress are told with its answer. */
  drain(): void
}
