// Uploads one file with tus-js-client, and prints where it went.
//
// Its argument is JSON: endpoint, file, size, chunkSize (0 for no limit), and the names of the
// client's own options in `options`.
"use strict"

const fs = require("node:fs")
const { PassThrough } = require("node:stream")
const tus = require("tus-js-client")

const { endpoint, file, size, chunkSize, metadata, options } = JSON.parse(process.argv[2])

const source = fs.createReadStream(file)
// The client knows the size of a file, so a length that nobody knows needs a stream that is none.
const input = options.uploadLengthDeferred ? source.pipe(new PassThrough()) : source

let retries = 0
const upload = new tus.Upload(input, {
  endpoint,
  metadata,
  chunkSize: chunkSize || Number.POSITIVE_INFINITY,
  uploadSize: options.uploadLengthDeferred ? null : size,
  retryDelays: Array(20).fill(50),
  ...options,
  onAfterResponse: (request, response) => {
    if (response.getStatus() >= 500) throw new Error(`status ${response.getStatus()}`)
  },
  onShouldRetry: () => {
    retries += 1
    return true
  },
  onError: (error) => {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess: () => {
    console.log(JSON.stringify({ url: upload.url, retries }))
    process.exit(0)
  },
})
upload.start()
