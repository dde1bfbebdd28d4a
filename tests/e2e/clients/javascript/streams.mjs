// Streams of the JavaScript client on a running pod: node streams.mjs KUBECONFIG NAMESPACE POD. Ends with "done".
import assert from 'node:assert/strict';
import net from 'node:net';
import { PassThrough, Writable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const [, , kubeconfig, namespace, pod] = process.argv;
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);

class Collector extends Writable {
    text = '';
    _write(chunk, _encoding, callback) {
        this.text += chunk;
        callback();
    }
}

function run(command, stdin = null, tty = false) {
    const [out, err] = [new Collector(), new Collector()];
    return new Promise((resolve, reject) => {
        new k8s.Exec(config)
            .exec(namespace, pod, 'c', command, out, err, stdin, tty, (status) =>
                resolve({ status, out: out.text, err: err.text }))
            .catch(reject);
    });
}

async function exec() {
    const both = await run(['sh', '-c', 'echo out; echo err >&2']);
    assert.deepEqual([both.status.status, both.out, both.err], ['Success', 'out\n', 'err\n']);
    const failed = await run(['sh', '-c', 'exit 7']);
    assert.equal(failed.status.status, 'Failure');
    assert.equal(failed.status.details.causes[0].message, '7');
    const input = new PassThrough();
    input.end('one\ntwo\n');
    assert.equal((await run(['head', '-n', '2'], input)).out, 'one\ntwo\n');
}

async function logs() {
    const collected = new Collector();
    await new k8s.Log(config).log(namespace, pod, 'c', collected, { tailLines: 2 });
    const ends = Date.now() + 10_000;
    while (collected.text !== 'line 2\nline 3\n') {
        assert.ok(Date.now() < ends, collected.text);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

async function portForward() {
    const forward = new k8s.PortForward(config);
    const server = net.createServer((socket) => forward.portForward(namespace, pod, [8080], socket, null, socket));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const answer = await new Promise((resolve, reject) => {
        let text = '';
        const client = net.connect(server.address().port, '127.0.0.1');
        client.write('GET /index.html HTTP/1.0\r\n\r\n');
        client.on('data', (chunk) => {
            text += chunk;
            if (text.includes('served by the pod')) {
                client.destroy();
                resolve(text);
            }
        });
        client.on('error', reject);
        setTimeout(() => reject(new Error(`only: ${text}`)), 10_000).unref();
    });
    assert.match(answer, /^HTTP\/1\.\d 200/);
    server.close();
}

for (const work of [exec, logs, portForward]) {
    await work();
}
console.log('done');
process.exit(0);
