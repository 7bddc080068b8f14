// What an operator is told is missing: by processes that lack it.
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { type Ability, lacking } from '../../../lib/sys/capabilities.ts'
import { canMakeNamespaces } from '../../support/netns.ts'
import { ROOT } from '../../support/proxy.ts'

const ALL: readonly Ability[] = ['original-destination', 'mark', 'transparent', 'namespaces']
const skip = canMakeNamespaces()

/** `ability: sentence` of each lack in a process that runs as asked. */
function lacks(before: string, ...setpriv: readonly string[]): string[] {
  const lib = JSON.stringify(pathToFileURL(`${ROOT}/build/lib/sys/capabilities.js`).href)
  const script = `${before}
    const { lacking } = await import(${lib})
    for (const { ability, sentence } of lacking(${JSON.stringify(ALL)})) console.log(ability + ': ' + sentence)`
  const node = [process.execPath, '--input-type=module', '-e', script]
  const { stdout, stderr } = spawnSync('setpriv', [...setpriv, ...node], { encoding: 'utf8' })
  if (stderr !== '') throw new Error(stderr)
  return stdout.split('\n').filter((line) => line !== '')
}

t.test('nothing is missing to root', { skip }, async (t) => {
  t.same(lacking(ALL), [])
})

t.test('capabilities', { skip }, async (t) => {
  const user = ['--reuid=1337', '--regid=1337', '--clear-groups']
  const touser =
    'give it to uid 1337 as an ambient capability or as one of the node executable (setcap), since the capabilities added to a container reach root alone; or run as root'
  const mark = 'mark: cannot mark its own packets (SO_MARK): EPERM, without CAP_NET_ADMIN or CAP_NET_RAW; '
  const transparent =
    'transparent: cannot use addresses of other machines (IP_TRANSPARENT): EPERM, without CAP_NET_ADMIN or CAP_NET_RAW; '
  const namespaces = 'namespaces: cannot open sockets in the network namespaces of pods (setns): EPERM, without CAP_SYS_ADMIN; '
  t.same(lacks('', ...user), [mark + touser, transparent + touser, namespaces + touser])
  t.same(lacks('', ...user, '--inh-caps=+net_admin', '--ambient-caps=+net_admin'), [namespaces + touser])
  t.same(lacks('', ...user, '--inh-caps=+sys_admin', '--ambient-caps=+sys_admin'), [mark + touser, transparent + touser])
  t.same(lacks('', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin'), [
    `${namespaces}add SYS_ADMIN to the capabilities of its container`,
  ])
})

t.test('no koffi, no Linux', { skip }, async (t) => {
  const noKoffi = `import module from 'node:module'
    const resolve = module._resolveFilename
    module._resolveFilename = function (name, ...rest) {
      if (name === 'koffi') throw Object.assign(new Error('Cannot find module'), { code: 'MODULE_NOT_FOUND' })
      return resolve.call(this, name, ...rest)
    }`
  const lines = lacks(noKoffi)
  t.equal(lines.length, ALL.length)
  t.equal(
    lines[0],
    'original-destination: cannot learn where redirected connections were going: the package koffi is not installed; install it beside heddle (npm install koffi)',
  )
  const other = lacks("Object.defineProperty(process, 'platform', { value: 'darwin' })")
  t.equal(other[1], 'mark: cannot mark its own packets (SO_MARK): heddle is not on Linux but on darwin; run heddle on Linux')
})
