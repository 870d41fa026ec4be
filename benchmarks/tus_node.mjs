// Start @tus/server with its S3 store as their READMEs do: node tus_node.mjs '{"modules": …}'
// Part size and concurrency are arguments, so that the benchmarks compare servers and not defaults.
// With `parallel: null`, the store has its default concurrency.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const options = JSON.parse(process.argv[2])
const load = (name) => import(pathToFileURL(join(options.modules, '@tus', name, 'dist', 'index.js')))

const { Server } = await load('server')
const { S3Store } = await load('s3-store')

const datastore = new S3Store({
  partSize: options.partSize,
  maxConcurrentPartUploads: options.parallel,
  s3ClientConfig: {
    bucket: options.bucket,
    endpoint: options.endpoint,
    forcePathStyle: true,
    region: process.env.AWS_DEFAULT_REGION,
    credentials: {
      accessKeyId: process.env.AWS_ACCESS_KEY_ID,
      secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
    },
  },
})
const server = new Server({ path: '/files', datastore })
const listening = server.listen({ host: '127.0.0.1', port: 0 }, () => {
  console.log(`listening at http://127.0.0.1:${listening.address().port}`)
})
