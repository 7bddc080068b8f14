// Servers and clients that know nothing of a mesh, as sources for `node -e`. A server says `on` when it listens.

const ECHO = `
  const seen = new Set()
  const answer = (q, r, more) => {
    const chunks = []
    q.on('data', (d) => chunks.push(d))
    q.on('end', () => {
      const once = q.url.startsWith('/once-503/') && !seen.has(q.url)
      seen.add(q.url)
      const text = Buffer.concat(chunks).toString('latin1')
      r.writeHead(once ? 503 : 200, { 'content-type': 'application/json', 'x-pod': NAME })
      r.end(JSON.stringify({ pod: NAME, url: q.url, body: text.length > 1000 ? text.length : text, version: q.httpVersion,
        from: q.socket.remoteAddress.replace('::ffff:', ''), headers: q.headers }) + '\\n')
    })
  }`

/** Answers with who it is, what it was sent and whence; `/once-503/x` with 503 the first time. */
export function echoServer(name: string, port: number): string {
  return `const NAME = ${JSON.stringify(name)}; ${ECHO}
    require('http').createServer(answer).listen(${port}, '::', () => console.log('on'))`
}

/** The same over HTTP/2 with prior knowledge alone. */
export function http2Server(name: string, port: number): string {
  return `const NAME = ${JSON.stringify(name)}; ${ECHO}
    require('http2').createServer((q, r) => answer(q, r)).listen(${port}, '::', () => console.log('on'))`
}

/** What an echo server says. */
export interface Echoed {
  readonly pod: string
  readonly url: string
  readonly body: string
  readonly version: string
  readonly from: string
  readonly headers: Readonly<Record<string, string | undefined>>
}

/** The bodies in what curl printed, one a line. */
export function echoed(stdout: string): Echoed[] {
  return stdout
    .split('\n')
    .filter((l) => l.startsWith('{'))
    .map((l) => JSON.parse(l) as Echoed)
}

/** Greets first (RFC 5321 §3.1), keeps mail, and says the SHA-256 of what it kept. */
export function mailServer(port: number): string {
  return `require('net').createServer((s) => {
    let rest = '', data = null
    s.on('error', () => {})
    s.write('220 mail.test ready\\r\\n')
    s.on('data', (d) => {
      rest += d.toString('latin1')
      for (;;) {
        const at = rest.indexOf('\\r\\n')
        if (at < 0) return
        const line = rest.slice(0, at)
        rest = rest.slice(at + 2)
        if (data !== null) {
          if (line !== '.') { data += line + '\\r\\n'; continue }
          s.write('250 kept ' + require('crypto').createHash('sha256').update(data, 'latin1').digest('hex') + '\\r\\n')
          data = null
        } else if (/^EHLO/i.test(line)) s.write('250-mail.test\\r\\n250 8BITMIME\\r\\n')
        else if (/^DATA/i.test(line)) { data = ''; s.write('354 go on\\r\\n') }
        else if (/^QUIT/i.test(line)) s.end('221 bye\\r\\n')
        else s.write('250 ok\\r\\n')
      }
    })
  }).listen(${port}, '::', () => console.log('on'))`
}

/**
 * Speaks first, in packets with a binary header as MySQL's, of which one looks like TLS; then sends back each packet with its bytes reversed. A packet `bulk N` is answered
 * with N bytes, all else with FIN only after the client's.
 */
export function databaseServer(port: number): string {
  return `const net = require('net')
    const packet = (n, body) => Buffer.concat([Buffer.from([body.length & 255, body.length >> 8 & 255, body.length >> 16, n]), body])
    net.createServer({ allowHalfOpen: true }, (s) => {
      s.on('error', () => {})
      s.write(packet(0, Buffer.from('\\n5.7.0\\0\\x16\\x03\\x01\\0\\xff\\xfe', 'latin1')))
      let rest = Buffer.alloc(0)
      s.on('data', (d) => {
        rest = Buffer.concat([rest, d])
        while (rest.length >= 4 && rest.length >= 4 + rest.readUIntLE(0, 3)) {
          const body = rest.subarray(4, 4 + rest.readUIntLE(0, 3))
          s.write(packet(rest[3] + 1, Buffer.from(body).reverse()))
          rest = rest.subarray(4 + body.length)
        }
      })
      s.on('end', () => s.end())
    }).listen(${port}, '::', () => console.log('on'))`
}

/** Sends packets and checks what comes back; prints how many were right. */
export function databaseClient(host: string, port: number, packets: number): string {
  return `const s = require('net').connect(${port}, ${JSON.stringify(host)})
    let rest = Buffer.alloc(0), n = 0, sent
    const fail = (why) => { console.error(why); process.exit(1) }
    const next = () => {
      sent = require('crypto').randomBytes(1 + n * 997 % 5000)
      sent[0] = [0, 0x16, 0x50, 0x47][n % 4]
      s.write(Buffer.concat([Buffer.from([sent.length & 255, sent.length >> 8, 0, 1]), sent]))
    }
    s.setTimeout(15000, () => fail('silence after ' + n))
    s.on('error', (e) => fail(e.message)).on('close', () => n > ${packets} || fail('closed after ' + n))
    s.on('data', (d) => {
      rest = Buffer.concat([rest, d])
      while (rest.length >= 4 && rest.length >= 4 + rest.readUIntLE(0, 3)) {
        const body = rest.subarray(4, 4 + rest.readUIntLE(0, 3))
        rest = rest.subarray(4 + body.length)
        if (n === 0 ? body.toString('latin1') !== '\\n5.7.0\\0\\x16\\x03\\x01\\0\\xff\\xfe' : !Buffer.from(sent).reverse().equals(body)) fail('packet ' + n)
        if (n++ === ${packets}) { console.log(n - 1); s.end(); return }
        next()
      }
    })`
}

/** Speaks only when the client has sent its FIN: the SHA-256 of what came and then as many bytes as came, of 0x5a. */
export function lateServer(port: number): string {
  return `require('net').createServer({ allowHalfOpen: true }, (s) => {
    const hash = require('crypto').createHash('sha256')
    let n = 0
    s.on('error', () => {})
    s.on('data', (d) => { hash.update(d); n += d.length })
    s.on('end', () => { s.write(hash.digest('hex')); s.end(Buffer.alloc(n, 0x5a)) })
  }).listen(${port}, '::', () => console.log('on'))`
}

/** `connections` at once send bytes and their FIN when all are open; prints `right N` when each got all back behind it. */
export function lateClient(host: string, port: number, bytes: number, connections: number): string {
  return `const net = require('net'), crypto = require('crypto')
    const fail = (why) => { console.error(why); process.exit(1) }
    let open = 0, right = 0
    const all = Array.from({ length: ${connections} }, (_, i) => {
      const body = Buffer.alloc(${bytes}, 'secret-' + i + '-')
      const s = net.connect({ port: ${port}, host: ${JSON.stringify(host)}, allowHalfOpen: true }, () => { if (++open === ${connections}) for (const go of all) go() })
      const got = []
      s.setTimeout(20000, () => fail('silence on ' + i))
      s.on('error', (e) => fail(e.message)).on('data', (d) => got.push(d)).on('end', () => {
        const answer = Buffer.concat(got)
        const wanted = Buffer.concat([Buffer.from(crypto.createHash('sha256').update(body).digest('hex')), Buffer.alloc(body.length, 0x5a)])
        if (!answer.equals(wanted)) fail('connection ' + i + ' got ' + answer.length + ' bytes')
        if (++right === ${connections}) console.log('right ' + right)
      })
      return () => s.end(body)
    })`
}

/** Takes every WebSocket and sends text messages back (RFC 6455, short unfragmented frames). */
export function webSocketServer(port: number): string {
  return `const server = require('http').createServer()
    server.on('upgrade', (q, s) => {
      const key = require('crypto').createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
      s.write('HTTP/1.1 101 Switching Protocols\\r\\nupgrade: websocket\\r\\nconnection: Upgrade\\r\\nsec-websocket-accept: ' + key + '\\r\\n\\r\\n')
      let rest = Buffer.alloc(0)
      s.on('error', () => {})
      s.on('data', (d) => {
        rest = Buffer.concat([rest, d])
        while (rest.length >= 6 && rest.length >= 6 + (rest[1] & 127)) {
          const length = rest[1] & 127, mask = rest.subarray(2, 6)
          const body = Buffer.from(rest.subarray(6, 6 + length)).map((b, i) => b ^ mask[i % 4])
          const op = rest[0] & 15
          s.write(Buffer.concat([Buffer.from([0x80 | op, length]), body]))
          rest = rest.subarray(6 + length)
          if (op === 8) s.end()
        }
      })
    })
    server.listen(${port}, '::', () => console.log('on'))`
}

/** Sends messages and prints what came back, when the closing handshake is done. */
export function webSocketClient(url: string, messages: readonly string[]): string {
  return `const ws = new WebSocket(${JSON.stringify(url)})
    const wanted = ${JSON.stringify(messages)}, got = []
    setTimeout(() => { console.error('silence after ' + got.length); process.exit(1) }, 15000).unref()
    ws.onopen = () => { for (const m of wanted) ws.send(m) }
    ws.onmessage = (e) => { if (got.push(e.data) === wanted.length) ws.close(1000) }
    ws.onerror = (e) => { console.error(e.message ?? 'error'); process.exit(1) }
    ws.onclose = (e) => { console.log(JSON.stringify({ code: e.code, got })); process.exit(0) }`
}

const GRPC = `const grpc = require('@grpc/grpc-js')
  const bytes = (b) => b
  const method = (name, q, r) => ({ path: '/test.Echo/' + name, requestStream: q, responseStream: r, requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes })
  const ECHO = { Unary: method('Unary', false, false), Chat: method('Chat', true, true) }`

/** Answers with what it was sent; NOT_FOUND with trailers when that is `nobody`. */
export function grpcServer(port: number): string {
  return `${GRPC}
    const server = new grpc.Server()
    server.addService(ECHO, {
      Unary: (call, done) => {
        const trailers = new grpc.Metadata()
        trailers.set('client', String(call.metadata.get('x-forwarded-client-cert')))
        if (String(call.request) === 'nobody') done({ code: grpc.status.NOT_FOUND, details: 'nobody is here', metadata: trailers })
        else done(null, call.request, trailers)
      },
      Chat: (call) => { call.on('data', (m) => call.write(m)).on('end', () => call.end()) },
    })
    server.bindAsync('[::]:${port}', grpc.ServerCredentials.createInsecure(), (e) => console.log(e === null ? 'on' : e.message))`
}

/** Unary, an error, and a chat: prints what came of each. A pod has no DNS that could be asked for a service config. */
export function grpcClient(target: string): string {
  return `${GRPC}
    const client = new (grpc.makeGenericClientConstructor(ECHO, 'Echo'))(${JSON.stringify(target)}, grpc.credentials.createInsecure(), { 'grpc.service_config_disable_resolution': 1 })
    const deadline = () => ({ deadline: Date.now() + 15000 })
    const unary = (text) => new Promise((resolve) => {
      let error = null, reply = '', status
      client.Unary(Buffer.from(text), new grpc.Metadata(), deadline(), (e, r) => { error = e; reply = String(r) })
        .on('status', (s) => setImmediate(() => resolve({ code: s.code, details: s.details, reply, client: String(s.metadata.get('client')) })))
    })
    const chat = () => new Promise((resolve) => {
      const got = [], call = client.Chat(new grpc.Metadata(), deadline())
      call.on('error', () => {}).on('data', (m) => { got.push(String(m)); if (got.length < 20) call.write(Buffer.from('m' + got.length)); else call.end() })
      call.on('status', (s) => resolve({ code: s.code, got: got.length }))
      call.write(Buffer.from('m0'))
    })
    ;(async () => {
      console.log(JSON.stringify({ found: await unary('hello'), missing: await unary('nobody'), chat: await chat() }))
      client.close()
    })()`
}

/** Says where a connection comes from, and what it is asked. */
export function whoServer(ports: readonly number[]): string {
  return `let waiting = ${ports.length}
    for (const port of ${JSON.stringify(ports)}) require('http').createServer((q, r) => r.end(JSON.stringify({ port, from: q.socket.remoteAddress.replace('::ffff:', '') }) + '\\n'))
      .listen(port, '::', () => --waiting === 0 && console.log('on'))`
}

/** What a load client says at its end. */
export interface LoadReport {
  readonly answered: number
  /** A line for each request without an answer of 200. */
  readonly lost: readonly string[]
  readonly pods: Readonly<Record<string, number>>
  /** Hashes of the certificates by which the server knew the client, in the order in which they came, and when each was last seen: epoch milliseconds. */
  readonly certificates: Readonly<Record<string, number>>
}

/**
 * Clients that ask without end: half of them keep their connection, half open one for each request. Prints a report when its standard input ends, and a line for each certificate
 * that it had not seen.
 */
export function loadClient(url: string, clients: number): string {
  return `const http = require('http')
    let stopping = false
    const report = { answered: 0, lost: [], pods: {}, certificates: {} }
    const ask = (agent) => new Promise((resolve) => {
      const lost = (why) => { report.lost.push(new Date().toISOString() + ' ' + why); resolve() }
      http.get(${JSON.stringify(url)}, { agent, timeout: 15000 }, (r) => {
        let text = ''
        r.on('data', (d) => { text += d }).on('error', (e) => lost('answer: ' + e.message)).on('end', () => {
          if (r.statusCode !== 200) return lost(r.statusCode + ' ' + text.slice(0, 200))
          const { pod, headers } = JSON.parse(text)
          const certificate = /Hash=([0-9a-f]+)/.exec(headers['x-forwarded-client-cert'] || '')?.[1] ?? 'none'
          report.answered++
          report.pods[pod] = (report.pods[pod] ?? 0) + 1
          if (report.certificates[certificate] === undefined) console.log('certificate ' + certificate)
          report.certificates[certificate] = Date.now()
          setTimeout(resolve, 40)
        })
      }).on('timeout', function () { this.destroy(new Error('silence')) }).on('error', (e) => lost(e.message))
    })
    const client = async (i) => {
      const agent = i % 2 === 0 ? new http.Agent({ keepAlive: true, maxSockets: 1 }) : false
      while (!stopping) await ask(agent)
      if (agent) agent.destroy()
    }
    process.stdin.on('end', () => { stopping = true }).resume()
    Promise.all(Array.from({ length: ${clients} }, (_, i) => client(i))).then(() => console.log('report ' + JSON.stringify(report)))`
}
