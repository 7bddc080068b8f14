// Files of access logs that a control plane asks for: beside the one of heddle.yaml, in its place, where there is no folder, and when nobody asks any more.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { httpFilter, putResource } from '../support/xds-json.ts'

interface Fed {
  readonly plane: FakeControlPlane
  readonly proxy: HeddleProcess
  readonly port: number
}

function folderOf(t: Teardown): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-fed-logs-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Its lines are `fed CODE`. */
function listener(port: number, paths: readonly string[]): object {
  const typed_config = (file: string) => ({
    '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
    path: file,
    log_format: { text_format_source: { inline_string: 'fed %RESPONSE_CODE%\n' } },
  })
  const direct = { match: { prefix: '/' }, direct_response: { status: 200 } }
  const manager = {
    stat_prefix: 'http',
    access_log: paths.map((file) => ({ name: file, typed_config: typed_config(file) })),
    route_config: { name: 'r', virtual_hosts: [{ name: 'all', domains: ['*'], routes: [direct] }] },
    http_filters: [httpFilter('http.router.v3.Router')],
  }
  return {
    name: 'in',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [httpFilter('network.http_connection_manager.v3.HttpConnectionManager', manager)] }],
  }
}

/** `own`: accessLog of heddle.yaml. */
async function fed(t: Teardown, own: object | null, paths: (proxyFolder: string) => readonly string[]): Promise<Fed> {
  const plane = await FakeControlPlane.start(t)
  const port = await freePort()
  const xds = { address: plane.hostAndPort, transport: 'plaintext' }
  const proxy = await startProxy(t, { listeners: [], bootstrap: { role: 'gateway', resources: [], xds, accessLog: own } })
  putResource(plane, XDS.listener, listener(port, paths(proxy.dir)))
  await eventually('the listener', () => connects(t, port))
  return { plane, proxy, port }
}

async function connects(t: Teardown, port: number): Promise<boolean> {
  try {
    const client = await RawClient.connect(t, port)
    client.destroy()
    return true
  } catch {
    return false
  }
}

async function ask(t: Teardown, port: number): Promise<void> {
  const client = await RawClient.connect(t, port)
  await client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await client.response()
  client.destroy()
}

const textOf = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '')
const written = (file: string, text: string): Promise<unknown> =>
  eventually(`${JSON.stringify(text)} in ${file}, which has ${JSON.stringify(textOf(file))}`, () => textOf(file) === text)

t.test('beside the one of heddle.yaml, each in its own file', async (t) => {
  const file = path.join(folderOf(t), 'fed.log')
  const { proxy, port } = await fed(t, {}, () => [file])
  await ask(t, port)
  await written(file, 'fed 200\n')
  await proxy.logged({ response_code: 200 })
})

t.test('heddle.yaml names the same file: its lines are the ones that are written', async (t) => {
  const { proxy, port } = await fed(t, {}, (dir) => [path.join(dir, 'access.log')])
  await ask(t, port)
  await ask(t, port)
  await eventually('two lines', () => proxy.accessLog().length === 2)
  t.notMatch(textOf(path.join(proxy.dir, 'access.log')), /fed/)
})

t.test('nobody has named a file in heddle.yaml: its default gives way to a control plane that names the same', async (t) => {
  const { proxy, port, plane } = await fed(t, null, () => ['/dev/stdout'])
  await ask(t, port)
  await eventually('a line', () => proxy.stdout.includes('fed 200\n'))
  t.equal(proxy.stdout.match(/200/g)?.length, 1, 'and only that')
  putResource(plane, XDS.listener, listener(port, []))
  await eventually('the default again', async () => {
    await ask(t, port)
    return / "GET \/ HTTP\/1\.1" 200 /.test(proxy.stdout)
  })
})

t.test('a file that cannot be opened keeps nothing from serving; SIGUSR1 tries again', async (t) => {
  const folder = path.join(folderOf(t), 'later')
  const file = path.join(folder, 'fed.log')
  const { proxy, port } = await fed(t, { path: null }, () => [file])
  await ask(t, port)
  await proxy.said(/the access log .*later\/fed\.log that the control plane asks for cannot be written.*ENOENT/)
  await eventually(
    'the line is counted',
    async () => ((await proxy.metrics()).value('heddle_access_log_dropped_total') ?? 0) === 1,
  )
  mkdirSync(folder)
  proxy.signal('SIGUSR1')
  await eventually('the file', () => existsSync(file))
  await ask(t, port)
  await written(file, 'fed 200\n')
})

t.test('a file is closed when no listener names it any more', async (t) => {
  const folder = folderOf(t)
  const [one, other] = [path.join(folder, 'one.log'), path.join(folder, 'other.log')]
  const { proxy, port, plane } = await fed(t, { path: null }, () => [one])
  const open = (): readonly string[] => {
    const fds = readdirSync(`/proc/${proxy.pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${proxy.pid}/fd/${fd}`)
      } catch {
        return '' // closed meanwhile
      }
    })
    return fds.filter((target) => target.startsWith(folder))
  }
  t.same(open(), [one])
  await ask(t, port)
  putResource(plane, XDS.listener, listener(port, [other]))
  await eventually('the other file alone', () => open().join() === other)
  await written(one, 'fed 200\n')
})
