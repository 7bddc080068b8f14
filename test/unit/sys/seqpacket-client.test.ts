// Packets and descriptors, from a server that Python's socket library is: what arrives, what is too long, what is lost, what stays open.
import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { libc, whyNoLibc } from '../../../lib/sys/libc.ts'
import { SeqpacketClient } from '../../../lib/sys/seqpacket-client.ts'
import { eventually } from '../../support/eventually.ts'
import type { Teardown } from '../../support/teardown.ts'

const skip = libc() === null ? whyNoLibc() : spawnSync('python3', ['--version']).status === 0 ? '' : 'python3 is not there'

/** Does what the lines on its standard input say: `send N F`: a packet of N bytes `x` with F descriptors of this folder; `read`; `close`. */
const SERVER = `
import os, socket, sys
path, folder = sys.argv[1], sys.argv[2]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(chr(0) + path[1:] if path[0] == '@' else path)
listener.listen()
print('listening', flush=True)
peer = None
for line in sys.stdin:
    words = line.split()
    if words[0] == 'accept':
        peer, _ = listener.accept()
        print('accepted', flush=True)
    elif words[0] == 'send':
        fds = [os.open(folder, os.O_RDONLY) for _ in range(int(words[2]))]
        payload = b'x' * int(words[1])
        try: socket.send_fds(peer, [payload], fds) if fds else peer.send(payload)
        except BrokenPipeError: pass
        for fd in fds: os.close(fd)
    elif words[0] == 'read':
        print('got', peer.recv(100000).decode(), flush=True)
    elif words[0] == 'close':
        peer.close()
`

async function server(t: Teardown, name = '') {
  const dir = mkdtempSync(path.join(tmpdir(), 'heddle-seqpacket-'))
  const socket = name === '' ? path.join(dir, 's.sock') : name
  writeFileSync(path.join(dir, 'server.py'), SERVER)
  const child = spawn('python3', [path.join(dir, 'server.py'), socket, dir], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(async () => {
    const ended = new Promise((resolve) => child.on('close', resolve))
    child.kill('SIGKILL')
    await ended
    rmSync(dir, { recursive: true })
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (d: string) => {
    said += d
  })
  const waitFor = (text: string) => eventually(`the server to say ${text}`, () => said.includes(text))
  await waitFor('listening')
  return { dir, socket, waitFor, tell: (line: string) => child.stdin.write(`${line}\n`) }
}

interface Packet {
  readonly text: string
  readonly descriptors: readonly number[]
  readonly whole: boolean
}

function collector() {
  const packets: Packet[] = []
  const ends: (string | null)[] = []
  return {
    packets,
    ends,
    onPacket: (bytes: Uint8Array, descriptors: readonly number[], whole: boolean) =>
      void packets.push({ text: Buffer.from(bytes).toString(), descriptors, whole }),
    onEnd: (error: NodeJS.ErrnoException | null) => void ends.push(error === null ? null : (error.code ?? error.message)),
  }
}

const descriptorsOf = (dir: string) =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === dir
    } catch {
      return false
    }
  }).length

t.test('packets with their bounds, and descriptors', { skip }, async (t) => {
  const peer = await server(t)
  const seen = collector()
  const client = SeqpacketClient.connect(peer.socket, seen)
  t.teardown(() => client.close())
  client.send(Buffer.from('hello'))
  client.send(Buffer.from('again'))
  peer.tell('accept\nread\nread')
  await peer.waitFor('got hello\ngot again')
  peer.tell('send 3 0\nsend 1024 1\nsend 1 2')
  await eventually('three packets', () => seen.packets.length === 3)
  t.same(
    seen.packets.map((p) => [p.text.length, p.descriptors.length, p.whole]),
    [
      [3, 0, true],
      [1024, 1, true],
      [1, 2, true],
    ],
  )
  for (const fd of seen.packets.flatMap((p) => p.descriptors)) {
    t.equal(fstatSync(fd).ino, statSync(peer.dir).ino)
    t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'), /^flags:\t0?2/m, 'closed on exec')
    closeSync(fd)
  }
  t.equal(descriptorsOf(peer.dir), 0)
})

t.test('too long, too many: said, and nothing of the rest is open', { skip }, async (t) => {
  const peer = await server(t)
  const seen = collector()
  const client = SeqpacketClient.connect(peer.socket, seen, { longestPacket: 10, mostDescriptors: 1 })
  t.teardown(() => client.close())
  peer.tell('accept\nsend 11 1\nsend 1 5\nsend 1 2\nsend 10 1')
  await eventually('four packets', () => seen.packets.length === 4)
  t.same(
    seen.packets.map((p) => [p.text.length, p.descriptors.length, p.whole]),
    [
      [10, 1, false],
      [1, 1, false],
      [1, 1, false],
      [10, 1, true],
    ],
  )
  t.equal(descriptorsOf(peer.dir), 4)
  for (const { descriptors } of seen.packets) closeSync(descriptors[0] as number)
})

t.test('ends', { skip }, async (t) => {
  const peer = await server(t, `@heddle-test-${process.pid}`)
  t.throws(() => SeqpacketClient.connect('/tmp/nobody.sock', collector()), { code: 'ENOENT' })
  t.throws(() => SeqpacketClient.connect(path.join(peer.dir, 'server.py'), collector()), { code: 'ECONNREFUSED' })
  t.throws(() => SeqpacketClient.connect(`/${'x'.repeat(107)}`, collector()), { code: 'ENAMETOOLONG' })
  const before = readdirSync('/proc/self/fd').length
  const seen = collector()
  const client = SeqpacketClient.connect(peer.socket, seen)
  peer.tell('accept\nsend 2 0\nclose')
  await eventually('the end', () => seen.ends.length === 1)
  t.same(seen.ends, [null])
  t.equal(seen.packets[0]?.text, 'xx', 'what came before it')
  client.send(Buffer.from('x'))
  client.close()
  const broken = collector()
  const second = SeqpacketClient.connect(peer.socket, broken)
  peer.tell('accept')
  for (let i = 0; i < 10_000 && broken.ends.length === 0; i++) {
    second.send(Buffer.alloc(1000))
    if (i % 100 === 0) await new Promise(setImmediate)
  }
  t.same(broken.ends, ['EAGAIN'], 'a peer that does not read')
  const quiet = collector()
  const third = SeqpacketClient.connect(peer.socket, quiet)
  peer.tell('accept\nsend 1 0')
  third.close()
  await eventually('all to be closed', () => readdirSync('/proc/self/fd').length === before)
  t.same([...quiet.packets, ...quiet.ends], [], 'nothing behind close')
})
