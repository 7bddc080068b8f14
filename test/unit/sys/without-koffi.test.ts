// What still works where koffi is not installed, and what the rest says: in a process that does not find it.
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { ROOT } from '../../support/proxy.ts'

const HIDE = `import module from 'node:module'
  const resolve = module._resolveFilename
  module._resolveFilename = function (name, ...rest) {
    if (name === 'koffi') globalThis.asked = true
    if (name === 'koffi') throw Object.assign(new Error('Cannot find module'), { code: 'MODULE_NOT_FOUND' })
    return resolve.call(this, name, ...rest)
  }
  const lib = (file) => import(${JSON.stringify(pathToFileURL(`${ROOT}/build/lib/`).href)} + file)
  const { connectFrom } = await lib('sys/outbound-socket.js')
  const { originalDestination } = await lib('sys/original-destination.js')
  const { listen, PLAIN_LISTEN, reserve } = await lib('listener/bind.js')
  const { inNetns, openNetns } = await lib('sys/netns.js')
  const net = (await import('node:net')).default
  const PLAIN = { source: null, foreignSource: false, mark: 0, netns: null }
  const say = (...words) => console.log(...words)
  const code = (error) => error.code + ' ' + error.message
`

function without(body: string): string[] {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', HIDE + body], { encoding: 'utf8' })
  if (stderr !== '') throw new Error(stderr)
  return stdout.trim().split('\n')
}

const linux = process.platform === 'linux' ? '' : 'a source of 127.0.0.6 without further ado needs Linux'
const ENOSYS = 'ENOSYS the package koffi is not installed'

t.test('a source of this machine, and the destination of a connection that nobody redirected', { skip: linux }, async (t) => {
  const lines = without(`
    const server = net.createServer((socket) => {
      const { address, port } = originalDestination(socket)
      say(socket.remoteAddress, address, port === server.address().port)
      socket.end()
      server.close()
    })
    await listen(server, '127.0.0.1', 0)
    connectFrom({ ...PLAIN, source: '127.0.0.6' }, '127.0.0.1', server.address().port).resume().on('end', function () { this.end() })
  `)
  t.same(lines, ['127.0.0.6 127.0.0.1 true'])
})

t.test('what is not possible', { skip: linux }, async (t) => {
  const lines = without(`
    const netns = openNetns('/proc/self/ns/net')
    for (const options of [{ mark: 1 }, { netns }, { source: '192.0.2.1', foreignSource: true }]) {
      let now = true
      await new Promise((resolve) => {
        connectFrom({ ...PLAIN, ...options }, '127.0.0.1', 1).on('error', (e) => say(code(e), now)).on('close', resolve)
        now = false
      })
    }
    for (const options of [{ mark: 1 }, { netns }, { transparent: true }]) {
      await listen(net.createServer(), '127.0.0.1', 0, { ...PLAIN_LISTEN, ...options }).catch((e) => say(code(e)))
      await reserve('127.0.0.1', 0, { ...PLAIN_LISTEN, ...options }).catch((e) => say(code(e)))
    }
    try { inNetns(netns, () => {}) } catch (e) { say(code(e)) }
  `)
  t.same(lines, [...Array(3).fill(`${ENOSYS} false`), ...Array(7).fill(ENOSYS)])
})

t.test('it is not looked for where nothing of the system is wanted', (t) => {
  const lines = without(`
    const { lacking } = await lib('sys/capabilities.js')
    say(lacking([]).length, globalThis.asked === true)
    say(lacking(['mark']).length, globalThis.asked === true)
  `)
  t.same(lines, ['0 false', '1 true'])
  t.end()
})
