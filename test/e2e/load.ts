// Load from inside a pod, while something is done to the mesh.
import { eventually } from '../support/eventually.ts'
import type { Running } from '../support/netns.ts'
import type { Pod } from './pods.ts'
import { type LoadReport, loadClient } from './programs.ts'

export class PodLoad {
  private readonly child: Running
  private said: string

  private constructor(child: Running) {
    this.child = child
    this.said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (d) => {
        this.said += String(d)
      })
  }

  /** Resolves when there have been answers. It ends with its pod. */
  static async start(pod: Pod, url: string, clients: number): Promise<PodLoad> {
    const load = new PodLoad(pod.start(loadClient(url, clients)))
    await load.certificates(1)
    return load
  }

  /** Waits until the server has known the client by so many certificates. */
  async certificates(wanted: number, budgetMs = 20_000): Promise<void> {
    const seen = () => this.said.split('\n').filter((l) => l.startsWith('certificate ')).length
    await eventually(`${wanted} certificates; ${this.said.slice(-500)}`, () => seen() >= wanted, budgetMs)
  }

  /** No new requests; resolves when those under way have ended. */
  async stop(): Promise<LoadReport> {
    this.child.stdin.end()
    const line = await eventually('the report of the load', () => /^report (.*)$/m.exec(this.said)?.[1] ?? '', 20_000)
    return JSON.parse(line) as LoadReport
  }
}
