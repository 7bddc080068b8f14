import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { BOOTSTRAP_FIELDS, HEALTH_CHECK_FIELDS, LISTENER_FIELDS, POD_FIELDS } from '../../../lib/bootstrap/fields.ts'
import { loadBootstrap } from '../../../lib/bootstrap/load.ts'
import { problemText } from '../../../lib/bootstrap/problem.ts'

// The compiled test is in build/test/unit/bootstrap or elsewhere; examples are found from the working directory.
const CONFIG = join(process.cwd(), 'config')

t.test('reference.yaml is the defaults', async (t) => {
  const reference = loadBootstrap(join(CONFIG, 'reference.yaml'))
  const defaults = loadBootstrap(null)
  t.ok(reference.ok && defaults.ok)
  if (!reference.ok || !defaults.ok) return
  // That it says where the log goes is itself told apart from the default.
  const { isDefault, ...accessLog } = reference.config.accessLog
  t.same([isDefault, defaults.config.accessLog.isDefault], [false, true])
  t.same({ ...reference.config, accessLog: { ...accessLog, isDefault: true }, file: '' }, defaults.config)
})

t.test('reference.yaml says each field', async (t) => {
  const source = readFileSync(join(CONFIG, 'reference.yaml'), 'utf8')
  const written = parse(source)
  for (const { path, defaultValue } of BOOTSTRAP_FIELDS) {
    // A field whose default is its absence stands in a comment.
    if (defaultValue === undefined) t.match(source, new RegExp(`^ +# ${path.at(-1)}: `, 'm'), path.join('.'))
    else
      t.same(
        path.reduce((at, step) => at[step], written),
        defaultValue,
        path.join('.'),
      )
  }
  for (const { path } of LISTENER_FIELDS) t.match(source, new RegExp(`^# +(- )?${path[0]}: `, 'm'), `listeners[].${path[0]}`)
  for (const { path } of POD_FIELDS) t.match(source, new RegExp(`^ +#  +(- )?${path[0]}: `, 'm'), `node.pods[].${path[0]}`)
  // The examples in it, taken out of their comments and made one each, have no other field and the defaults that the schema has.
  const lines = source.split('\n')
  const end = lines.indexOf('healthChecks: []')
  const begin = lines.findIndex((line) => line.startsWith('#   - hosts:'))
  const [entry] = parse(
    lines
      .slice(begin, end)
      .map((line) => line.slice(1))
      .join('\n'),
  )
  for (const { path, defaultValue } of HEALTH_CHECK_FIELDS) {
    const said = path.reduce((at, step) => at?.[step], entry)
    t.not(said, undefined, `healthChecks[].${path.join('.')}`)
    if (path[0] !== 'hosts' && defaultValue !== undefined) t.same(said, defaultValue, `healthChecks[].${path.join('.')}`)
  }
})

t.test('each example is valid', async (t) => {
  const files = readdirSync(CONFIG).filter((name) => name.endsWith('.yaml'))
  t.ok(files.length >= 5, 'there are examples')
  for (const name of [...files, 'demo/heddle.yaml']) {
    const result = loadBootstrap(join(CONFIG, name))
    t.same(result.ok ? [] : result.errors.map(problemText), [], name)
  }
})
