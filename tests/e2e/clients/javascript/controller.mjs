// A controller with the JavaScript client: node controller.mjs KUBECONFIG NAMESPACE.
// For each Counter it applies a ConfigMap that the Counter owns and reports in the Counter's status; a finalizer
// of its own holds a deleted Counter until a farewell ConfigMap is written. Informers on both kinds wake it.
import * as k8s from '@kubernetes/client-node';

const [, , kubeconfig, namespace] = process.argv;
const GROUP = { group: 'clients.example.com', version: 'v1', plural: 'counters', namespace };
const FINALIZER = 'clients.example.com/farewell';
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const custom = config.makeApiClient(k8s.CustomObjectsApi);
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const merge = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch);

const ignore = (code) => (error) => {
    if (error.code !== code) throw error;
    return undefined;
};

async function reconcile(name) {
    const counter = await custom.getNamespacedCustomObject({ ...GROUP, name }).catch(ignore(404));
    if (!counter) return;
    const finalizers = counter.metadata.finalizers ?? [];
    if (counter.metadata.deletionTimestamp) {
        if (!finalizers.includes(FINALIZER)) return;
        await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: `${name}-farewell` } } })
            .catch(ignore(409));
        await custom.patchNamespacedCustomObject(
            { ...GROUP, name, body: { metadata: { finalizers: finalizers.filter((item) => item !== FINALIZER) } } },
            merge,
        );
        return;
    }
    if (!finalizers.includes(FINALIZER)) {
        const body = { metadata: { finalizers: [...finalizers, FINALIZER] } };
        await custom.patchNamespacedCustomObject({ ...GROUP, name, body }, merge);
    }
    const owner = { apiVersion: counter.apiVersion, kind: counter.kind, name, uid: counter.metadata.uid, controller: true };
    await objects.patch(
        {
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: { name, namespace, labels: { counter: name }, ownerReferences: [owner] },
            data: { doubled: String(counter.spec.count * 2) },
        },
        undefined, undefined, 'counter-controller', true, k8s.PatchStrategy.ServerSideApply,
    );
    const status = { doubled: counter.spec.count * 2, observedGeneration: counter.metadata.generation };
    if (counter.status?.observedGeneration !== status.observedGeneration) {
        await custom.patchNamespacedCustomObjectStatus({ ...GROUP, name, body: { status } }, merge);
    }
}

const waiting = new Set();
let running = false;
async function enqueue(name) {
    waiting.add(name);
    if (running) return;
    running = true;
    while (waiting.size) {
        const [next] = waiting;
        waiting.delete(next);
        try {
            await reconcile(next);
        } catch (error) {
            console.log(`again ${next}: ${error.message}`);
            await new Promise((resolve) => setTimeout(resolve, 200));
            waiting.add(next);
        }
    }
    running = false;
}

function follow(path, list, nameOf, selector) {
    const informer = k8s.makeInformer(config, path, list, selector);
    for (const verb of ['add', 'update', 'delete']) {
        informer.on(verb, (object) => enqueue(nameOf(object)));
    }
    informer.on('error', (error) => {
        console.log(`informer: ${error}`);
        setTimeout(() => informer.start(), 200);
    });
    return informer.start();
}

await follow(
    `/apis/${GROUP.group}/${GROUP.version}/namespaces/${namespace}/${GROUP.plural}`,
    () => custom.listNamespacedCustomObject(GROUP),
    (counter) => counter.metadata.name,
);
await follow(
    `/api/v1/namespaces/${namespace}/configmaps`,
    () => core.listNamespacedConfigMap({ namespace, labelSelector: 'counter' }),
    (owned) => owned.metadata.labels.counter,
    'counter',
);
console.log('ready');
