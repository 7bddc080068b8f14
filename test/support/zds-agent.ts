// The agent of a node, as Istio's CNI plugin is one: hands over pods with their network namespaces. Python's socket library passes the descriptors, protobufjs
// writes the messages: nothing of it shares code with heddle.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type protobuf from 'protobufjs'
import { eventually } from './eventually.ts'
import { istioProtos } from './istio-protos.ts'
import type { Teardown } from './teardown.ts'

/** Each line of its input: `send <base64> <path,path>`, `close`. It tells `open`, `got <base64>`, `end`. One connection at a time is spoken to, the newest. */
const SERVER = `
import base64, os, socket, sys, threading
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(sys.argv[1])
listener.listen()
peer = None
def say(text): print(text, flush=True)
def serve(connection):
    say('open')
    while True:
        try: packet = connection.recv(100000)
        except OSError: break
        if not packet: break
        say('got ' + base64.b64encode(packet).decode())
    say('end')
def accept():
    global peer
    while True:
        connection, _ = listener.accept()
        peer = connection
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
say('listening')
for line in sys.stdin:
    words = line.split()
    if words[0] == 'send':
        fds = [os.open(p, os.O_RDONLY) for p in words[2].split(',')] if len(words) > 2 else []
        try: socket.send_fds(peer, [base64.b64decode(words[1])], fds)
        except OSError: pass
        for fd in fds: os.close(fd)
    elif words[0] == 'close':
        peer.shutdown(socket.SHUT_RDWR)
`

export interface AgentPod {
  readonly uid: string
  readonly name: string
  readonly namespace?: string
  readonly serviceAccount?: string
  /** Of its network namespace. */
  readonly netns: string
}

export class ZdsAgent {
  readonly socket: string
  /** Connections that were made to it. */
  connections: number
  /** Hellos, as their versions' names. */
  readonly hellos: string[]
  /** Texts of the answers since the last that was taken; '' is success. */
  private readonly answers: string[]
  private readonly protos: protobuf.Root
  private readonly tell: (line: string) => void
  private helloDue: boolean
  private ended: number

  private constructor(socket: string, tell: (line: string) => void) {
    this.socket = socket
    this.connections = 0
    this.hellos = []
    this.answers = []
    this.protos = istioProtos()
    this.tell = tell
    this.helloDue = true
    this.ended = 0
  }

  /** @param socket default: one in a folder of its own */
  static async start(t: Teardown, socket = ''): Promise<ZdsAgent> {
    const dir = mkdtempSync(path.join(tmpdir(), 'heddle-zds-'))
    const name = socket === '' ? path.join(dir, 'agent.sock') : socket
    rmSync(name, { force: true })
    writeFileSync(path.join(dir, 'agent.py'), SERVER)
    const child = spawn('python3', [path.join(dir, 'agent.py'), name], { stdio: ['pipe', 'pipe', 'inherit'] })
    const agent = new ZdsAgent(name, (line) => child.stdin.write(`${line}\n`))
    let listening = false
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() as string
      for (const line of lines) {
        if (line === 'listening') listening = true
        else agent.heard(line)
      }
    })
    t.teardown(async () => {
      const ended = new Promise((resolve) => child.on('close', resolve))
      child.kill('SIGKILL')
      await ended
      rmSync(dir, { recursive: true, force: true })
    })
    await eventually('the agent to listen', () => listening)
    return agent
  }

  private heard(line: string): void {
    const [what, packet = ''] = line.split(' ')
    const bytes = Buffer.from(packet, 'base64')
    if (what === 'open') {
      this.connections++
      this.helloDue = true
    } else if (what === 'end') this.ended++
    else if (this.helloDue) {
      this.helloDue = false
      const type = this.protos.lookupType('istio.workload.zds.ZdsHello')
      this.hellos.push((type.toObject(type.decode(bytes), { enums: String }) as { version: string }).version)
    } else {
      const type = this.protos.lookupType('istio.workload.zds.WorkloadResponse')
      const { ack } = type.toObject(type.decode(bytes), { defaults: true }) as { ack: { error: string } }
      this.answers.push(ack.error)
    }
  }

  /** Until this many connections have been made, each with its hello. */
  async connected(times = 1, budgetMs = 15_000): Promise<void> {
    await eventually(
      `connection ${times} to the agent`,
      () => this.connections >= times && this.hellos.length >= times && !this.helloDue,
      budgetMs,
    )
  }

  /** Until the tunnel has ended this many connections. */
  async disconnected(times = 1): Promise<void> {
    await eventually(`the end of connection ${times}`, () => this.ended >= times)
  }

  close(): void {
    this.tell('close')
  }

  /** The answer to a request of the protocol; `descriptors`: paths. */
  async request(payload: Readonly<Record<string, unknown>>, descriptors: readonly string[] = []): Promise<string> {
    const type = this.protos.lookupType('istio.workload.zds.WorkloadRequest')
    return this.send(type.encode(type.fromObject(payload)).finish(), descriptors)
  }

  async send(bytes: Uint8Array, descriptors: readonly string[] = []): Promise<string> {
    const before = this.answers.length
    this.tell(`send ${Buffer.from(bytes).toString('base64')} ${descriptors.join(',')}`)
    await eventually('the answer to the agent', () => this.answers.length > before)
    return this.answers[before] as string
  }

  add({ uid, name, namespace = 'default', serviceAccount = name, netns }: AgentPod): Promise<string> {
    return this.request({ add: { uid, workload_info: { name, namespace, service_account: serviceAccount } } }, [netns])
  }

  keep(uid: string): Promise<string> {
    return this.request({ keep: { uid } })
  }

  del(uid: string): Promise<string> {
    return this.request({ del: { uid } })
  }

  snapshotSent(): Promise<string> {
    return this.request({ snapshot_sent: {} })
  }
}
