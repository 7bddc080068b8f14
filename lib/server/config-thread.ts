// Reads the configuration in a thread of its own that ends when it is not needed: what reads YAML and checks schemas takes as much
// memory as a worker, is needed for a moment, and would hold up whatever the main thread does. What has to survive the thread, the
// last good texts, is kept here as plain data and given to the next one.
import { Worker } from 'node:worker_threads'
import type { FlagValues } from '../bootstrap/flags.ts'
import type { LoadedBootstrap } from '../bootstrap/load.ts'
import type { LoaderMemory, LoadResult } from '../resources/load.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { FromConfigThread, ToConfigThread } from './config-messages.ts'

/** Changes come in groups: the thread stays this long after one, with all that it has parsed. */
const LINGER_MS = 10_000

interface Pending {
  readonly resolve: (answer: FromConfigThread) => void
  readonly reject: (error: Error) => void
}

export class ConfigThread {
  #worker: Worker | null
  #pending: Pending | null
  #memory: LoaderMemory | null
  #linger: NodeJS.Timeout | null
  #closed: boolean

  constructor() {
    this.#worker = null
    this.#pending = null
    this.#memory = null
    this.#linger = null
    this.#closed = false
  }

  /** As bootstrap/load.ts. `text`: in place of what `file` says, which is then only a name. */
  async loadBootstrap(
    file: string | null,
    env: Readonly<Record<string, string | undefined>>,
    flags: FlagValues,
    text: string | null = null,
  ): Promise<LoadedBootstrap> {
    const answer = await this.#ask({ type: 'bootstrap', file, env: { ...env }, flags, text })
    if (answer.type !== 'bootstrap') throw new Error('not what was asked')
    return answer.result
  }

  /** As `ResourceLoader.load`. One call at a time. Rejects when the thread dies of it, and after `close`. */
  async loadResources(bootstrap: BootstrapConfig): Promise<LoadResult> {
    const answer = await this.#ask({ type: 'resources', bootstrap, memory: this.#worker === null ? this.#memory : null })
    if (answer.type !== 'resources') throw new Error('not what was asked')
    const first = this.#memory === null
    this.#memory = answer.memory
    // After a start the next change is far away.
    if (first) await this.#end()
    return answer.result
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#end()
  }

  #ask(question: ToConfigThread): Promise<FromConfigThread> {
    if (this.#closed) return Promise.reject(new Error('the configuration is read no more: heddle ends'))
    if (this.#pending !== null) return Promise.reject(new Error('one question at a time'))
    if (this.#linger !== null) clearTimeout(this.#linger)
    const worker = this.#worker ?? this.#start()
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject }
      worker.postMessage(question)
    })
  }

  #start(): Worker {
    const worker = new Worker(new URL('./config-reader.js', import.meta.url), { name: 'heddle configuration' })
    this.#worker = worker
    worker.on('message', (answer: FromConfigThread) => {
      if (this.#worker !== worker) return
      this.#linger = setTimeout(() => void this.#end(), LINGER_MS).unref()
      this.#settle((pending) => pending.resolve(answer))
    })
    const died = (error: Error) => {
      if (this.#worker !== worker) return
      this.#worker = null
      this.#settle((pending) => pending.reject(error))
    }
    worker.on('error', died)
    worker.on('messageerror', died)
    worker.on('exit', (code) => died(new Error(`the thread that reads the configuration ended with code ${code}`)))
    return worker
  }

  #settle(how: (pending: Pending) => void): void {
    const pending = this.#pending
    this.#pending = null
    if (pending !== null) how(pending)
  }

  async #end(): Promise<void> {
    if (this.#linger !== null) clearTimeout(this.#linger)
    const worker = this.#worker
    this.#worker = null
    await worker?.terminate()
    this.#settle((pending) => pending.reject(new Error('the configuration is read no more: heddle ends')))
  }
}
