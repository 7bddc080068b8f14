// The rows of timeouts.test.ts with an HTTP/2 client.
process.env['HEDDLE_TEST_DOWNSTREAM'] = 'http2'
await import('../timeouts.test.ts')
