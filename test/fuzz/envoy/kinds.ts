// Kinds of subjects, by the names that the command line knows.
import { drawJwt } from './draw-jwt.ts'
import { drawRbac } from './draw-rbac.ts'
import { drawRoutes } from './draw-routes.ts'
import type { Draw } from './subject.ts'

export const KINDS = { rbac: drawRbac, jwt: drawJwt, routes: drawRoutes } as const satisfies Readonly<Record<string, Draw>>
