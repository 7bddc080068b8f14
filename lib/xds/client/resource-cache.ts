// The last good resources on disk, so that a proxy that starts while its control plane is away has a configuration: a file for each type, replaced as a whole. A line of JSON
// says whose it is and what its checksum is; behind it stands a DeltaDiscoveryResponse with all that was held. Secrets are not written: a disk is no place for keys.
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { ProtobufError } from '../../grpc/protobuf-fields.ts'
import { decode } from '../proto/decode.ts'
import { DeltaDiscoveryResponse, Resource } from '../proto/discovery.ts'
import { encode } from '../proto/encode.ts'
import type { AdsLog } from './ads-connection.ts'
import { type Schedule, scheduleByClock } from './lifetimes.ts'
import { shortTypeName, XDS } from './resource-types.ts'
import type { XdsResource } from './resource-update.ts'

export interface ResourceCacheOptions {
  /** Absolute; made when it is not there. */
  readonly folder: string
  /** Whose they are: those of another node or from another server are not used. */
  readonly nodeId: string
  readonly server: string
  readonly log: AdsLog
  readonly schedule?: Schedule
  /** Epoch ms. */
  readonly wallMs?: () => number
}

/** What was held of a type when it was written. */
export interface CachedType {
  readonly typeUrl: string
  readonly version: string
  readonly resources: readonly XdsResource[]
  /** Epoch ms. */
  readonly savedAtMs: number
}

interface Head {
  readonly format: 1
  readonly sha256: string
  readonly node: string
  readonly server: string
  readonly savedAtMs: number
}

/** What follows a change within this time is written with it. */
const GATHER_MS = 1000
const EXTENSION = '.xds'

export class ResourceCache {
  readonly #options: ResourceCacheOptions
  readonly #schedule: Schedule
  /** Types that have changed: what is to be written is asked for when it is. */
  readonly #changed: Map<string, () => Omit<CachedType, 'savedAtMs'>>
  #cancel: (() => void) | null
  #writing: Promise<void>
  /** Of the last try to write; the same is not told twice. */
  #failure: string

  constructor(options: ResourceCacheOptions) {
    this.#options = options
    this.#schedule = options.schedule ?? scheduleByClock
    this.#changed = new Map()
    this.#cancel = null
    this.#writing = Promise.resolve()
    this.#failure = ''
  }

  /** Once, at start. What cannot be used is told, and left out. */
  load(): CachedType[] {
    const { folder, log } = this.#options
    try {
      // Only for us: the configuration of a mesh is nobody else's.
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      const files = readdirSync(folder).filter((name) => name.endsWith(EXTENSION))
      return files.map((name) => this.#read(path.join(folder, name))).filter((type) => type !== null)
    } catch (error) {
      log.warning(`xds.state: ${textOf(error)}; a restart will have to wait for the control plane`)
      return []
    }
  }

  /** It has changed. `held` is called when it is written, soon. */
  save(typeUrl: string, held: () => Omit<CachedType, 'savedAtMs'>): void {
    if (typeUrl === XDS.secret) return
    this.#changed.set(typeUrl, held)
    this.#cancel ??= this.#schedule(() => {
      this.#cancel = null
      void this.flush()
    }, GATHER_MS)
  }

  /** All that has changed is on disk when it resolves, or it is told why not. */
  flush(): Promise<void> {
    this.#cancel?.()
    this.#cancel = null
    const types = [...this.#changed.values()].map((held) => held())
    this.#changed.clear()
    this.#writing = this.#writing.then(() => this.#write(types))
    return this.#writing
  }

  #read(file: string): CachedType | null {
    const { nodeId, server, log } = this.#options
    const reject = (why: string): null => {
      log.warning(`xds.state: ${file} ${why}; it is not used`)
      return null
    }
    let content: Buffer
    try {
      content = readFileSync(file)
    } catch (error) {
      return reject(`cannot be read: ${textOf(error)}`)
    }
    const end = content.indexOf(0x0a)
    const head = headOf(content.subarray(0, Math.max(end, 0)).toString('utf8'))
    if (head === null) return reject('is not of this program, or is of another version of it')
    const body = content.subarray(end + 1)
    if (checksum(body) !== head.sha256) return reject('is damaged: its checksum is another')
    if (head.node !== nodeId) return reject(`is of the node ${head.node}, which is not this one`)
    if (head.server !== server) return reject(`came from ${head.server}, which is not the control plane any more`)
    try {
      const { type_url: typeUrl, system_version_info: version, resources } = decode(DeltaDiscoveryResponse, body)
      return { typeUrl, version, savedAtMs: head.savedAtMs, resources: resources.map((r) => resourceOf(typeUrl, r)) }
    } catch (error) {
      if (!(error instanceof ProtobufError)) throw error
      return reject(`is damaged: ${error.message}`)
    }
  }

  async #write(types: readonly Omit<CachedType, 'savedAtMs'>[]): Promise<void> {
    const { folder, log } = this.#options
    let failure = ''
    for (const type of types) {
      const file = path.join(folder, `${type.typeUrl.slice(type.typeUrl.lastIndexOf('/') + 1)}${EXTENSION}`)
      try {
        await replace(file, this.#content(type))
      } catch (error) {
        failure = `xds.state: ${shortTypeName(type.typeUrl)} could not be written: ${textOf(error)}`
      }
    }
    if (failure !== '' && failure !== this.#failure) log.warning(failure)
    if (types.length > 0) this.#failure = failure
  }

  #content({ typeUrl, version, resources }: Omit<CachedType, 'savedAtMs'>): Buffer {
    const body = encode(DeltaDiscoveryResponse, {
      type_url: typeUrl,
      system_version_info: version,
      resources: resources.map((r) => ({
        ...Resource.empty,
        name: r.name,
        version: r.version,
        aliases: r.aliases,
        resource: { typeUrl, value: r.bytes },
      })),
    })
    const head: Head = {
      format: 1,
      sha256: checksum(body),
      node: this.#options.nodeId,
      server: this.#options.server,
      savedAtMs: (this.#options.wallMs ?? Date.now)(),
    }
    return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body])
  }
}

/** The old content or the new one, whatever happens in between. */
async function replace(file: string, content: Buffer): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`
  try {
    const handle = await open(temporary, 'w', 0o600)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
}

function headOf(line: string): Head | null {
  try {
    const head: unknown = JSON.parse(line)
    return typeof head === 'object' && head !== null && 'format' in head && head.format === 1 ? (head as Head) : null
  } catch {
    return null
  }
}

/** A copy of its own, so that the file's bytes need not stay. */
function resourceOf(typeUrl: string, { name, version, aliases, resource }: Resource): XdsResource {
  return { typeUrl, name, version, aliases, bytes: Buffer.from(resource?.value ?? []) }
}

function checksum(of: Uint8Array): string {
  return createHash('sha256').update(of).digest('hex')
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
