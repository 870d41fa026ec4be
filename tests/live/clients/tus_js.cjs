// Upload one file with tus-js-client and print its URL.
//
// The argument is JSON: endpoint, file, size, chunkSize (0: no limit), terminateAt (terminate the
// upload after this many bytes; 0: never), metadata, and in `options` the client's own options.
"use strict"

const fs = require("node:fs")
const { PassThrough } = require("node:stream")
const tus = require("tus-js-client")

const { endpoint, file, size, chunkSize, terminateAt, metadata, options } = JSON.parse(
  process.argv[2],
)

function source() {
  // With a stream, the client marks a request as the last one only if it contains the whole file
  // (lib/node/sources/FileSource.js compares both sizes). The IETF drafts require the mark.
  if (options.protocol) return fs.readFileSync(file)
  const stream = fs.createReadStream(file)
  // The client reads the size of a file stream. To defer the length, hide the file behind a pipe.
  return options.uploadLengthDeferred ? stream.pipe(new PassThrough()) : stream
}

let retries = 0
let interop = null

function done() {
  console.log(JSON.stringify({ url: upload.url, retries, interop }))
  process.exit(0)
}

function fail(error) {
  console.error(String(error))
  process.exit(1)
}

const upload = new tus.Upload(source(), {
  endpoint,
  metadata,
  chunkSize: chunkSize || Number.POSITIVE_INFINITY,
  // With parallel uploads, the client rejects this option and uses the file's size.
  uploadSize: options.uploadLengthDeferred || options.parallelUploads ? null : size,
  retryDelays: Array(20).fill(50),
  ...options,
  onAfterResponse: (request, response) => {
    if (response.getStatus() >= 500) throw new Error(`status ${response.getStatus()}`)
    interop = response.getHeader("Upload-Draft-Interop-Version") ?? null
  },
  onProgress: (sent) => {
    if (!terminateAt || sent < terminateAt) return
    // The promise of `abort` resolves after the response to the DELETE.
    upload.options.onProgress = null
    upload.abort(true).then(done, fail)
  },
  onShouldRetry: () => {
    retries += 1
    return true
  },
  onError: fail,
  onSuccess: done,
})
upload.start()
