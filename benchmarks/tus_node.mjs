// @tus/server with its S3 store, as their READMEs start them: node tus_node.mjs '{"modules": …}'
// The size of parts and how many go at once are given, so that servers can be compared and not their
// defaults; a `parallel` of null is the store's own.
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
