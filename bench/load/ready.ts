// Waiting until a server answers the way it should.
import { get } from 'node:http'
import http2 from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Child } from './child.ts'
import { answerBytes, GRPC_REQUEST, HOST, type Protocol } from './scenario.ts'

/** Milliseconds a server may take to start. */
const START_LIMIT_MS = 15_000

/** Resolves when `path` is answered with 200 and the whole body; rejects with what was seen last and the child's output. */
export async function untilAnswers(child: Child, port: number, path: string, protocol: Protocol): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS
  const ask = protocol === 'http1' ? askHttp1 : askHttp2
  const wanted = `200 with ${answerBytes(path)} bytes${protocol === 'grpc' ? ', grpc-status 0' : ''}`
  let seen = 'nothing'
  while (Date.now() < deadline) {
    if (child.hasExited()) throw new Error(`it ended at once: ${child.tail()}`)
    seen = await ask(port, path, protocol)
    if (seen === wanted) return
    await sleep(50)
  }
  throw new Error(`not ready after ${START_LIMIT_MS / 1000} s; last answer to ${path}: ${seen}. ${child.tail()}`)
}

function askHttp1(port: number, path: string): Promise<string> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path, agent: false, headers: { host: HOST }, timeout: 2000 }, (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      response.on('end', () => resolve(`${response.statusCode} with ${bytes} bytes`))
      response.on('error', (error) => resolve(error.message))
    })
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', (error) => resolve(error.message))
  })
}

function askHttp2(port: number, path: string, protocol: Protocol): Promise<string> {
  return new Promise((resolve) => {
    const session = http2.connect(`http://127.0.0.1:${port}`)
    const end = (seen: string): void => {
      session.destroy()
      resolve(seen)
    }
    session.on('error', (error) => end(error.message))
    session.setTimeout(2000, () => end('no answer'))
    const grpc = protocol === 'grpc' ? { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' } : {}
    const stream = session.request({ ':authority': HOST, ':path': path, ...grpc }, { endStream: protocol !== 'grpc' })
    if (protocol === 'grpc') stream.end(GRPC_REQUEST)
    let status: number | undefined
    let trailer = ''
    let bytes = 0
    stream.on('response', (headers) => {
      status = headers[':status']
    })
    stream.on('trailers', (headers) => {
      trailer = `, grpc-status ${headers['grpc-status']}`
    })
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    stream.on('error', (error) => end(error.message))
    stream.on('end', () => end(`${status} with ${bytes} bytes${trailer}`))
  })
}
