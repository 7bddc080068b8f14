// Kinds of subjects, by the names that the command line knows.
import { drawJwt } from './draw-jwt.ts'
import { drawRbac } from './draw-rbac.ts'
import type { Draw } from './subject.ts'

export const KINDS: Readonly<Record<string, Draw>> = { rbac: drawRbac, jwt: drawJwt }
