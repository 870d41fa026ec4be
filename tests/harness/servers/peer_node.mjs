// Starts @tus/server as its README does: node peer_node.mjs '{"modules": …, "directory": …}'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const options = JSON.parse(process.argv[2])
const load = (name) => import(pathToFileURL(join(options.modules, '@tus', name, 'dist', 'index.js')))

const { Server } = await load('server')
const { FileStore } = await load('file-store')

// Without a handler the process would end, and later tests would fail instead of this one.
process.on('uncaughtException', (error) => console.log('uncaught exception', error.message))

const datastore = new FileStore({
  directory: options.directory,
  expirationPeriodInMilliseconds: options.expires * 1000,
})
const server = new Server({ path: '/files', datastore, maxSize: options.maxSize })
server.listen({ host: '127.0.0.1', port: options.port })
