// The loads that every target is put under.

export type ScenarioId = 'h1-1k' | 'h1-64k' | 'open-1000rps'

export interface Scenario {
  readonly id: ScenarioId
  readonly title: string
  /** Path of the file at the upstream. */
  readonly path: string
  /** Requests a second of an open loop; 0: closed loop, each connection sends as soon as it was answered. */
  readonly ratePerSecond: number
}

export const SCENARIOS: readonly Scenario[] = [
  { id: 'h1-1k', title: 'HTTP/1.1 keep-alive GET, 1 KB, closed loop', path: '/1k', ratePerSecond: 0 },
  { id: 'h1-64k', title: 'HTTP/1.1 keep-alive GET, 64 KB, closed loop', path: '/64k', ratePerSecond: 0 },
  {
    id: 'open-1000rps',
    title: 'HTTP/1.1 keep-alive GET, 1 KB, open loop at 1,000 requests a second',
    path: '/1k',
    ratePerSecond: 1000,
  },
]

/** Bodies of the upstream by path, in bytes. */
export const BODY_BYTES: Readonly<Record<string, number>> = { '/1k': 1024, '/64k': 65536 }

/** The Host that every request carries; the mesh of the heddle target has a service of this name. */
export const HOST = 'echo.bench.svc.cluster.local'
