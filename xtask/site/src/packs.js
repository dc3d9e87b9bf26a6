
// The first part of a document comes in one file (see parts.rs). Where that fails, each of its files is asked for by itself.
let pack;
function makePackedLoad(name, fetcher, deps) {
    const load = makeLoad(fetcher, deps);
    return () => {
        pack ??= unpacked(name).catch(() => new Map());
        return load();
    };
}
async function unpacked(name) {
    const answer = await fetch(new URL(name, import.meta.url));
    if (!answer.ok) {
        throw new Error(`${name}: ${answer.status}`);
    }
    const bytes = await answer.arrayBuffer();
    const table = 4 + new DataView(bytes).getUint32(0, true);
    const files = new Map();
    let at = table;
    for (const [file, length] of JSON.parse(new TextDecoder().decode(bytes.slice(4, table)))) {
        files.set(file, bytes.slice(at, at + length));
        at += length;
    }
    return files;
}
async function source(file) {
    const files = await pack;
    const bytes = files?.get(file);
    if (bytes === undefined) {
        return fetch(new URL(file, import.meta.url));
    }
    files.delete(file);
    return new Response(bytes, { headers: { "content-type": "application/wasm" } });
}
