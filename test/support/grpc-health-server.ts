// A gRPC server of @grpc/grpc-js with the standard health service, its messages by protobufjs: nothing of it shares code with heddle.
import grpc from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import type { Teardown } from './teardown.ts'

export type ServingStatus = 'UNKNOWN' | 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'

/** grpc/grpc-proto grpc/health/v1/health.proto. */
const HEALTH = {
  nested: {
    grpc: {
      nested: {
        health: {
          nested: {
            v1: {
              nested: {
                HealthCheckRequest: { fields: { service: { type: 'string', id: 1 } } },
                HealthCheckResponse: {
                  fields: { status: { type: 'ServingStatus', id: 1 } },
                  nested: { ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } } },
                },
                Health: {
                  methods: { Check: { requestType: 'HealthCheckRequest', responseType: 'HealthCheckResponse' } },
                },
              },
            },
          },
        },
      },
    },
  },
}

export class GrpcHealthServer {
  /** By service; one that is not there is answered NOT_FOUND. */
  readonly statuses: Map<string, ServingStatus>
  /** Services that were asked for, in order. */
  readonly asked: string[]
  readonly host: string
  port: number
  /** The next ones are not answered at all. */
  hangs: boolean
  private readonly server: grpc.Server

  private constructor(host: string) {
    this.statuses = new Map([['', 'SERVING']])
    this.asked = []
    this.host = host
    this.port = 0
    this.hangs = false
    this.server = new grpc.Server()
    const definition = fromJSON(HEALTH as Parameters<typeof fromJSON>[0], { enums: String, defaults: true })
    this.server.addService(definition['grpc.health.v1.Health'] as grpc.ServiceDefinition, {
      Check: (call: grpc.ServerUnaryCall<{ service: string }, unknown>, done: grpc.sendUnaryData<unknown>) => {
        this.asked.push(call.request.service)
        if (this.hangs) return
        const status = this.statuses.get(call.request.service)
        if (status === undefined) done({ code: grpc.status.NOT_FOUND, details: 'unknown service' })
        else done(null, { status })
      },
    })
  }

  static async start(t: Teardown, host = '127.0.0.1'): Promise<GrpcHealthServer> {
    const server = new GrpcHealthServer(host)
    t.teardown(() => server.server.forceShutdown())
    server.port = await new Promise<number>((resolve, reject) => {
      server.server.bindAsync(`${host}:0`, grpc.ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      )
    })
    return server
  }

  get address(): string {
    return `${this.host}:${this.port}`
  }
}
