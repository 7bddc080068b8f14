// Namespace (Kubernetes core/v1): known so that a folder may hold it; nothing of it is read yet.
import { open } from './fields.ts'

export const namespace = open({})
