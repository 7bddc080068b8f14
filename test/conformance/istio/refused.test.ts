// `heddle check` refuses the objects that Istio's validator refused, and no others.
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import { runHeddle } from '../../support/proxy.ts'
import { REFUSED_OTHERWISE } from './differs.ts'
import { peersFolder } from './recording.ts'

interface Checked {
  readonly resources: readonly {
    readonly kind: string
    readonly name: string
    readonly state: string
    readonly reason: string
    readonly file: string
    readonly line: number
  }[]
}

interface Verdicts {
  readonly refused: readonly { readonly file: string; readonly kind: string; readonly name: string; readonly reason: string }[]
}

const peers = peersFolder()
if (peers === null) t.plan(0, 'the recordings of Istio and Envoy are not here; HEDDLE_PEERS names their folder')
else {
  const source = path.join(peers, 'cases/refused')
  const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-refused-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  for (const file of ['objects.yaml', 'services.yaml']) cpSync(path.join(source, file), path.join(dir, file))
  const verdicts = JSON.parse(readFileSync(path.join(source, 'xds.json'), 'utf8')) as Verdicts
  const refused = new Map(verdicts.refused.map((r) => [`${r.kind}/${r.name.replace(/^[^/]*\//, '')}`, r.reason]))

  t.test('each object of the recording', async (t) => {
    const { code, stdout, stderr } = await runHeddle(['check', '--json', dir])
    t.not(code, 0, 'check fails when something is refused')
    const { resources } = (stdout === '' ? t.fail(`check said nothing: ${stderr}`) : JSON.parse(stdout)) as Checked
    const known = new Set(resources.map((r) => `${r.kind}/${r.name}`))
    for (const [object, reason] of refused) t.ok(known.has(object), `${object} is listed (${reason})`)
    for (const r of resources.filter((r) => r.file.endsWith('objects.yaml'))) {
      const object = `${r.kind}/${r.name}`
      const declared = REFUSED_OTHERWISE.find((d) => d.object === object)
      const recorded = refused.get(object)
      const wrong = (r.state === 'refused') !== (recorded !== undefined)
      if (declared !== undefined) t.ok(wrong && r.state === declared.state, `${object} is ${declared.state}: ${declared.reason}`)
      else t.notOk(wrong, `${object} is ${r.state} (${r.reason}); Istio: ${recorded ?? 'accepted'}`)
      if (r.state === 'refused') t.ok(r.reason !== '' && r.line > 0, `${object} says why and where`)
    }
  })
}
