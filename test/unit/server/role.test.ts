// What a role says at start of what would go wrong later.
import t from 'tap'
import { assemblyOf, roleWarnings } from '../../../lib/server/role.ts'
import { bootstrapFor } from '../resources/kit.ts'

const rows: readonly (readonly [mode: 'none' | 'redirect' | 'tproxy', uid: number, warned: boolean])[] = [
  ['tproxy', 1337, true],
  ['tproxy', 0, false],
  ['redirect', 1337, false],
  ['none', 1337, false],
]

for (const [mode, uid, warned] of rows) {
  t.test(`${mode} as user ${uid}`, async (t) => {
    const warnings = roleWarnings(await assemblyOf('sidecar'), bootstrapFor([], { capture: { mode } }), uid)
    t.equal(warnings.length, warned ? 1 : 0)
    if (warned) t.match(warnings[0], /user 1337.*group 1337/)
  })
}
