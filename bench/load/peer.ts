// What a proxy under test is to the harness.

import type { Certificates } from './certificates.ts'
import type { Child } from './child.ts'
import type { Protocol, Scenario } from './scenario.ts'

/** What a peer needs to know to write its configuration. */
export interface PeerSite {
  /** An empty folder of its own, removed at the end. */
  readonly folder: string
  /** The port of 127.0.0.1 to listen on. */
  readonly port: number
  readonly upstreamPort: number
  /** What the load generator speaks, and the upstream. */
  readonly client: Protocol
  readonly upstream: Protocol
  /** The second hop; null: there is none. */
  readonly hop: Hop | null
  /** Further free ports, for what a peer must listen on besides. */
  readonly sparePorts: readonly number[]
  /** The core to run on; null: any. */
  readonly core: number | null
}

/** The way back in, over mTLS. One certificate serves both ends. `hbone`: streams of HTTP/2 that carry bytes. */
export interface Hop {
  readonly port: number
  readonly protocol: 'http1' | 'http2' | 'hbone'
  readonly certificates: Certificates
}

export interface Peer {
  /** As named by `--only` and in tables. */
  readonly id: string
  /** How it is configured, in a few words, for the legend. */
  readonly setup: string
  /** null when the program is not there. */
  readonly version: string | null
  /** How to get it; printed when it is missing. */
  readonly install: string
  /** Is it measured there? */
  suits(scenario: Scenario): boolean
  /** Writes the configuration and starts the process. */
  start(site: PeerSite): Child
}
