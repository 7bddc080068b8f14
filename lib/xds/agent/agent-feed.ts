// What a proxy asks of a control plane beside the configuration of its data path: the names of the mesh (NDS), and the roots that hold in it (PCDS); and what it
// tells of its application.
import type { AdsClient } from '../client/ads-client.ts'
import { XDS } from '../client/resource-types.ts'
import type { ResourceFault, ResourceUpdate } from '../client/resource-update.ts'
import { decode } from '../proto/decode.ts'
import { NameTable, ProxyConfig } from '../proto/istio-agent.ts'
import type { Message } from '../proto/schema.ts'

/** By host. */
export type NamesOfMesh = NameTable['table']

export interface AgentFeedOptions {
  /** null: they are not asked for. */
  readonly onNames: ((names: NamesOfMesh) => void) | null
  /** PEM. */
  readonly onRoots: ((rootsPem: readonly string[]) => void) | null
}

export class AgentFeed {
  readonly #options: AgentFeedOptions
  readonly #names: Map<string, NameTable>
  readonly #settings: Map<string, readonly string[]>
  #client: Pick<AdsClient, 'subscribe' | 'reportHealth'> | null
  /** What is wrong with the application; null: nothing; undefined: nobody knows. */
  #health: string | null | undefined

  constructor(options: AgentFeedOptions) {
    this.#options = options
    this.#names = new Map()
    this.#settings = new Map()
    this.#client = null
    this.#health = undefined
  }

  /** Once for all; further calls do nothing. */
  subscribe(client: Pick<AdsClient, 'subscribe' | 'reportHealth'>): void {
    if (this.#client !== null) return
    this.#client = client
    const { onNames, onRoots } = this.#options
    if (onNames !== null) client.subscribe(XDS.nameTable, 'wildcard')
    if (onRoots !== null) client.subscribe(XDS.proxyConfig, 'wildcard')
    if (this.#health !== undefined) client.reportHealth(this.#health)
  }

  /** What is wrong with the application; null: nothing. Nothing is told before listeners have come. */
  reportHealth(problem: string | null): void {
    this.#health = problem
    this.#client?.reportHealth(problem)
  }

  takes(typeUrl: string): boolean {
    return typeUrl === XDS.nameTable || typeUrl === XDS.proxyConfig
  }

  take(update: ResourceUpdate): ResourceFault[] {
    if (update.typeUrl === XDS.nameTable) {
      const faults = follow(update, NameTable, this.#names, (table) => table)
      // There is one; of servers that send several all are meant.
      this.#options.onNames?.(new Map([...this.#names.values()].flatMap(({ table }) => [...table])))
      return faults
    }
    const faults = follow(update, ProxyConfig, this.#settings, (config) => config.ca_certificates_pem)
    this.#options.onRoots?.([...this.#settings.values()].flat())
    return faults
  }
}

/** What cannot be read keeps what was there before. */
function follow<M extends object, T>(
  { changed, removed }: ResourceUpdate,
  of: Message<M>,
  held: Map<string, T>,
  made: (message: M) => T,
): ResourceFault[] {
  const faults: ResourceFault[] = []
  for (const name of removed) held.delete(name)
  for (const { name, bytes } of changed) {
    try {
      held.set(name, made(decode(of, bytes)))
    } catch (error) {
      faults.push({ name, reason: `it cannot be read: ${(error as Error).message}` })
    }
  }
  return faults
}
