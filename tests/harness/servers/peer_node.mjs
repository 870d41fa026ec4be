// @tus/server as its README starts it: node peer_node.mjs '{"modules": …, "directory": …}'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const options = JSON.parse(process.argv[2])
const load = (name) => import(pathToFileURL(join(options.modules, '@tus', name, 'dist', 'index.js')))

const { Server } = await load('server')
const { FileStore } = await load('file-store')

// By itself the process would end, and tests that come later would be blamed for it.
process.on('uncaughtException', (error) => console.log('nobody caught', error.message))

const datastore = new FileStore({
  directory: options.directory,
  expirationPeriodInMilliseconds: options.expires * 1000,
})
const server = new Server({ path: '/files', datastore, maxSize: options.maxSize })
server.listen({ host: '127.0.0.1', port: options.port })
