// Gateway of the Gateway API (gateway.networking.k8s.io, apis/v1/gateway_types.go). Istio's kind of the same name is gateway.ts.
import type * as v from 'valibot'
import { anything, list, oneOf, opt, strict, text, textMap, whole } from './fields.ts'
import { secretRef } from './gateway-api-fields.ts'

const expression = strict({ key: text, operator: oneOf(['In', 'NotIn', 'Exists', 'DoesNotExist']), values: opt(list(text)) })

const labelSelector = strict({ matchLabels: opt(textMap), matchExpressions: opt(list(expression)) })

const validation = strict({
  caCertificateRefs: opt(list(secretRef)),
  mode: opt(oneOf(['AllowValidOnly', 'AllowInsecureFallback'])),
})

const listenerTls = strict({
  mode: opt(oneOf(['Terminate', 'Passthrough'])),
  certificateRefs: opt(list(secretRef)),
  frontendValidation: opt(validation),
  options: opt(textMap),
})

const listener = strict({
  name: text,
  hostname: opt(text),
  port: whole,
  protocol: text,
  tls: opt(listenerTls),
  allowedRoutes: opt(
    strict({
      namespaces: opt(strict({ from: opt(oneOf(['All', 'Selector', 'Same', 'None'])), selector: opt(labelSelector) })),
      kinds: opt(list(strict({ group: opt(text), kind: text }))),
    }),
  ),
})

const frontend = strict({
  default: opt(strict({ validation: opt(validation) })),
  perPort: opt(list(strict({ port: whole, tls: opt(strict({ validation: opt(validation) })) }))),
})

export const kubernetesGateway = strict({
  gatewayClassName: text,
  listeners: opt(list(listener)),
  addresses: opt(list(strict({ type: opt(text), value: opt(text) }))),
  infrastructure: opt(anything),
  allowedListeners: opt(anything),
  backendTLS: opt(anything),
  tls: opt(strict({ frontend: opt(frontend), backend: opt(anything) })),
  defaultScope: opt(text),
})

export type KubernetesGatewaySpec = v.InferOutput<typeof kubernetesGateway>
export type GatewayListenerSpec = v.InferOutput<typeof listener>
export type ListenerTlsSpec = v.InferOutput<typeof listenerTls>
export type ClientValidationSpec = v.InferOutput<typeof validation>
export type LabelSelectorSpec = v.InferOutput<typeof labelSelector>
