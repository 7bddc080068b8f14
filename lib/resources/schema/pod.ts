// Pod (Kubernetes core/v1): only its labels, its account and its addresses are read, so everything else passes.
import type * as v from 'valibot'
import { list, open, opt, text } from './fields.ts'

export const podSpec = open({ serviceAccountName: opt(text), nodeName: opt(text) })
export const podStatus = open({ podIP: opt(text), podIPs: opt(list(open({ ip: opt(text) }))) })

const pod = open({ spec: opt(podSpec), status: opt(podStatus) })
export type PodSpec = v.InferOutput<typeof pod>
