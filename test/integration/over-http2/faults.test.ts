// The rows of faults.test.ts with an HTTP/2 client.
process.env['HEDDLE_TEST_DOWNSTREAM'] = 'http2'
await import('../faults.test.ts')
