// What a control plane sent that is accepted and has no effect here, for the operator: each thing once, with how many resources say it.
import type { FedNote } from '../admin/admin-source.ts'
import { shortTypeName, XDS } from '../xds/client/resource-types.ts'
import type { XdsWorld } from '../xds/store/xds-world.ts'

/** Of what is in force, or waits where nothing is. */
export function notesOf(world: Pick<XdsWorld, 'states'>): FedNote[] {
  return [XDS.cluster, XDS.endpoints, XDS.listener, XDS.route, XDS.extension, XDS.secret].flatMap((typeUrl) => {
    const found = new Map<string, { resources: number; readonly example: string }>()
    for (const { name, active, warming } of world.states(typeUrl)) {
      for (const text of (active ?? warming)?.notes ?? []) {
        const note = found.get(text)
        if (note === undefined) found.set(text, { resources: 1, example: name })
        else note.resources++
      }
    }
    return [...found].map(([text, note]) => ({ short: shortTypeName(typeUrl), text, ...note }))
  })
}
