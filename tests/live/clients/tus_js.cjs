// Uploads one file with tus-js-client, and prints where it went.
//
// Its argument is JSON: endpoint, file, size, chunkSize (0 for no limit), terminateAt (bytes after
// which it gives up; 0 for never), and the names of the client's own options in `options`.
"use strict"

const fs = require("node:fs")
const { PassThrough } = require("node:stream")
const tus = require("tus-js-client")

const { endpoint, file, size, chunkSize, terminateAt, metadata, options } = JSON.parse(
  process.argv[2],
)

function source() {
  // Of a file the client says that it is done only if one request has all of it, and the IETF's
  // drafts need to be told (lib/node/sources/FileSource.js: it compares the sizes of both).
  if (options.protocol) return fs.readFileSync(file)
  const stream = fs.createReadStream(file)
  // It knows the size of a file, so a length that nobody knows needs a stream that is none.
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
  // It refuses a size beside parallel uploads, and takes the file's.
  uploadSize: options.uploadLengthDeferred || options.parallelUploads ? null : size,
  retryDelays: Array(20).fill(50),
  ...options,
  onAfterResponse: (request, response) => {
    if (response.getStatus() >= 500) throw new Error(`status ${response.getStatus()}`)
    interop = response.getHeader("Upload-Draft-Interop-Version") ?? null
  },
  onProgress: (sent) => {
    if (!terminateAt || sent < terminateAt) return
    // Its own promise ends with the answer to the DELETE.
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
