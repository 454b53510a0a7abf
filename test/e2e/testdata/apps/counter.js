// Counts its answers, after a name that it gives itself when it starts.
const name = require('crypto').randomBytes(8).toString('hex')
let n = 0
const server = require('http').createServer((request, answer) => answer.end(`${name} ${++n}\n`))
server.keepAliveTimeout = 3600e3
server.listen(8000, '0.0.0.0')
