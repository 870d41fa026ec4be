// Upload one file with Uppy's tus plugin and print its URL.
//
// The argument is JSON: endpoint, file, name, type, chunkSize (0: no limit), and in `options` the
// plugin's own options.
import fs from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

// NODE_PATH applies to `require` only, and these packages are ES modules.
const load = async (name) => {
  const file = join(process.env.NODE_PATH, '@uppy', name, 'lib', 'index.js')
  return (await import(pathToFileURL(file))).default
}
const [Uppy, Tus] = [await load('core'), await load('tus')]

const { endpoint, file, name, type, chunkSize, options } = JSON.parse(process.argv[2])

const uppy = new Uppy().use(Tus, {
  endpoint,
  chunkSize: chunkSize || Number.POSITIVE_INFINITY,
  retryDelays: Array(20).fill(50),
  ...options,
})
uppy.addFile({ name, type, data: fs.createReadStream(file) })

const { successful, failed } = await uppy.upload()
for (const { error } of failed) console.error(error)
if (failed.length) process.exit(1)
console.log(JSON.stringify({ url: successful[0].uploadURL }))
process.exit(0)
