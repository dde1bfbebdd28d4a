// The JavaScript client's usual work: node work.mjs KUBECONFIG NAMESPACE. Ends with "done".
import assert from 'node:assert/strict';
import * as k8s from '@kubernetes/client-node';

const [, , kubeconfig, namespace] = process.argv;
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);

const failsWith = (code, promise) => assert.rejects(promise, (error) => error.code === code);

async function eventually(what, probe) {
    const ends = Date.now() + 10_000;
    while (!probe()) {
        assert.ok(Date.now() < ends, `${what}: not within 10 s`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

async function crud() {
    const body = { metadata: { name: 'c', labels: { a: 'b' } }, data: { k: 'v' } };
    const made = await core.createNamespacedConfigMap({ namespace, body });
    assert.deepEqual(made.data, { k: 'v' });
    made.data.k = 'w';
    const replaced = await core.replaceNamespacedConfigMap({ name: 'c', namespace, body: made });
    assert.notEqual(replaced.metadata.resourceVersion, made.metadata.resourceVersion);
    await failsWith(409, core.replaceNamespacedConfigMap({ name: 'c', namespace, body: made }));
    await failsWith(404, core.readNamespacedConfigMap({ name: 'none', namespace }));
    await failsWith(422, core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'Bad_Name' } } }));
    const patched = await core.patchNamespacedConfigMap(
        { name: 'c', namespace, body: [{ op: 'add', path: '/data/n', value: '1' }] },
        k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch),
    );
    assert.deepEqual(patched.data, { k: 'w', n: '1' });
    const listed = await core.listNamespacedConfigMap({ namespace, labelSelector: 'a=b', limit: 1 });
    assert.deepEqual(listed.items.map((item) => item.metadata.name), ['c']);
    assert.equal((await core.deleteNamespacedConfigMap({ name: 'c', namespace })).status, 'Success');
}

async function serverSideApply() {
    const objects = k8s.KubernetesObjectApi.makeApiClient(config);
    const spec = (image) => ({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'd', namespace },
        spec: {
            replicas: 0,
            selector: { matchLabels: { app: 'd' } },
            template: { metadata: { labels: { app: 'd' } }, spec: { containers: [{ name: 'c', image }] } },
        },
    });
    const apply = (body, manager, force) =>
        objects.patch(body, undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
    const first = await apply(spec('one'), 'first');
    assert.equal(first.metadata.managedFields[0].operation, 'Apply');
    await failsWith(409, apply(spec('two'), 'second'));
    assert.equal((await apply(spec('two'), 'second', true)).spec.template.spec.containers[0].image, 'two');
    const read = await objects.read({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd', namespace } });
    assert.ok(read.metadata.creationTimestamp instanceof Date);
    assert.equal((await objects.list('apps/v1', 'Deployment', namespace)).items.length, 1);
    await objects.delete(spec('two'));
}

async function informer() {
    const seen = [];
    const list = () => core.listNamespacedSecret({ namespace });
    const made = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/secrets`, list);
    for (const verb of ['add', 'update', 'delete']) {
        made.on(verb, (secret) => seen.push(`${verb} ${secret.metadata.name}`));
    }
    made.on('error', (error) => seen.push(`error ${error}`));
    await core.createNamespacedSecret({ namespace, body: { metadata: { name: 'before' } } });
    await made.start();
    await core.createNamespacedSecret({ namespace, body: { metadata: { name: 's' }, stringData: { a: '1' } } });
    await eventually('the cache has it', () => made.get('s', namespace));
    await core.patchNamespacedSecret(
        { name: 's', namespace, body: { stringData: { a: '2' } } },
        k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
    );
    await core.deleteNamespacedSecret({ name: 's', namespace });
    await eventually('deletion', () => seen.includes('delete s'));
    assert.deepEqual(seen, ['add before', 'add s', 'update s', 'delete s']);
    assert.equal(made.list(namespace).length, 1);
    await made.stop();
}

async function watching() {
    const { metadata } = await core.listNamespacedConfigMap({ namespace });
    const seen = [];
    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'w' } } });
    await core.deleteNamespacedConfigMap({ name: 'w', namespace });
    const closed = new Promise((resolve) => {
        new k8s.Watch(config).watch(
            `/api/v1/namespaces/${namespace}/configmaps`,
            { resourceVersion: metadata.resourceVersion, timeoutSeconds: 1, allowWatchBookmarks: true },
            (phase, object) => phase === 'BOOKMARK' || seen.push(`${phase} ${object.metadata.name}`),
            resolve,
        );
    });
    assert.equal(await closed, null);
    assert.deepEqual(seen, ['ADDED w', 'DELETED w']);
}

async function access() {
    const review = await config.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({
        body: { spec: { resourceAttributes: { verb: 'create', resource: 'pods', namespace } } },
    });
    assert.equal(review.status.allowed, true);
    assert.equal((await config.makeApiClient(k8s.VersionApi).getCode()).minor, '36');
    const token = await core.createNamespacedServiceAccountToken({
        name: 'default', namespace, body: { spec: { audiences: [], expirationSeconds: 600 } },
    });
    const limited = new k8s.KubeConfig();
    limited.loadFromClusterAndUser(config.getCurrentCluster(), { name: 'sa', token: token.status.token });
    await failsWith(403, limited.makeApiClient(k8s.CoreV1Api).listNamespacedSecret({ namespace }));
}

for (const work of [crud, serverSideApply, informer, watching, access]) {
    const began = Date.now();
    await work();
    console.log(`${work.name}: ${Date.now() - began} ms`);
}
console.log('done');
process.exit(0);
